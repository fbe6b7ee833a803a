"""Blitz in process: a real CSS engine as a Python extension; no browser, no scripts, no network (package `blitz-py`).

It is always called without a base URL, without leave to open files, and with a fixed height. The bundled fonts are
registered once per process under a family name of their own, so that no system font can stand in for them; a fallback
font is registered when the first page that names it is drawn.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from renderers import fonts
from renderers.errors import MissingExtra, RenderError

if TYPE_CHECKING:
    from types import ModuleType

_STYLED = re.compile(r"<style[^>]*>.*?(?:</style|$)|<[a-zA-Z][^<>]*(?:style|align)\s*=[^<>]*>", re.DOTALL | re.IGNORECASE)
_FLOATING = re.compile(r"float|\\|align\s*=", re.IGNORECASE)


class EmbeddedEngine:
    """Draws with Blitz. Same page, same bytes, on every platform. Holds nothing that needs closing."""

    name = "embedded"

    def __init__(self) -> None:
        self._blitz = _load()
        self.version = version("blitz-py")

    def draw(self, html: str, width: int, height: int) -> bytes:
        """PNG of the page. Pages that use `float` are refused: Blitz 0.5 never returns from some of them."""
        if any(_FLOATING.search(found[0]) for found in _STYLED.finditer(html)):
            raise RenderError("the embedded engine takes no `float` (nor `align=` or CSS escapes): it may hang on them")
        for face in fonts.fallback.faces_in(html):
            _register(face.name)
        try:
            png: bytes = self._blitz.render_png(
                html.encode("utf-8", "replace").decode("utf-8"), width=width, height=height, allow_file_urls=False
            )
        except (ValueError, RuntimeError) as error:
            raise RenderError(f"the embedded engine could not draw a page of {width} x {height} px: {error}") from error
        return png

    def close(self) -> None:
        """Nothing to free."""


@cache
def _load() -> ModuleType:
    try:
        import blitz_py
    except ImportError as error:
        raise MissingExtra("The embedded layout engine (blitz-py)", "pip install 'blitz-py>=0.5,<0.6'") from error
    blitz_py.register_fonts([face.data for face in fonts.all_faces()])
    return blitz_py


@cache
def _register(family: str) -> None:
    """Hands a fallback face to the library, which keeps it for the rest of the process."""
    _load().register_fonts([face.data for face in fonts.fallback.faces() if face.name == family])
