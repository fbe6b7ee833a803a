"""Where recipes and launcher configurations are: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from memagent.errors import unknown_name


def data_folder(name: Literal["recipes", "configs"]) -> Path:
    """The folder of recipes (TOML) or of configurations for `accelerate launch` (YAML)."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def config_file(name: str) -> Path:
    """The configuration for `accelerate launch` of this name. Raises `UnknownName`."""
    files = {path.stem: path for path in data_folder("configs").glob("*.yaml")}
    if name not in files:
        raise unknown_name("launcher configuration", name, sorted(files))
    return files[name]
