"""Style sheets of the pages, read from the package's own files. A document can never add to them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def stylesheet(name: str = "default") -> str:
    """The CSS of a theme; read once per process."""
    return files(__package__).joinpath(f"{name}.css").read_text("utf-8")
