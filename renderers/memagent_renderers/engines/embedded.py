"""Blitz in process: a real CSS engine as a Python extension; no browser, no scripts, no network (package `blitz-py`).

It is always called without a base URL, without leave to open files, and with a fixed height. The bundled fonts are
registered once per process under a family name of their own, so that no system font can stand in for them; a fallback
font is registered when the first page that names it is drawn.

Blitz 0.5 never frees a document (some 14 kB each, whatever is on it). So documents are kept: one for each head and page
size, and the next page's body takes the place of the last one's. That draws the same bytes as a new document does, is
faster, and memory stops growing. A page whose body holds more than plain elements gets a document of its own, because a
style sheet might outlive it.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from memagent_renderers import fonts
from memagent_renderers.engines import shared_engine
from memagent_renderers.engines.base import PAGE_END, plain_parts
from memagent_renderers.errors import MissingExtra, RenderError

if TYPE_CHECKING:
    from types import ModuleType

_STYLED = re.compile(r"<style[^>]*>.*?(?:</style|$)|<[a-zA-Z][^<>]*(?:style|align)\s*=[^<>]*>", re.DOTALL | re.IGNORECASE)
_FLOATING = re.compile(r"float|\\|align\s*=", re.IGNORECASE)

_BODY = "memagent-page"
"""The id of the element whose content is replaced."""
_KEPT = 32
"""Page sizes for which a document is kept; the one used longest ago goes first."""

Key = tuple[str, int, int, tuple[str, ...]]
"""What a kept document cannot change: all that stands before the body, width, height, and fallback fonts it knows."""


class EmbeddedEngine:
    """Draws with Blitz. Same page, same bytes, on every platform."""

    name = "embedded"
    parallel = True

    def __init__(self) -> None:
        self._blitz = _load()
        self.version = version("blitz-py")
        self._lock = threading.Lock()
        self._idle: OrderedDict[Key, list[Any]] = OrderedDict()

    def __reduce__(self) -> tuple[object, ...]:
        return shared_engine, (self.name,)  # in another process: the one that is there

    def draw(self, html: str, width: int, height: int) -> bytes:
        """PNG of the page. Pages that use `float` are refused: Blitz 0.5 never returns from some of them."""
        if any(_FLOATING.search(found[0]) for found in _STYLED.finditer(html)):
            raise RenderError("the embedded engine takes no `float` (nor `align=` or CSS escapes): it may hang on them")
        families = tuple(face.name for face in fonts.fallback.faces_in(html))
        for family in families:
            _register(family)
        html = html.encode("utf-8", "replace").decode("utf-8")
        head, body = plain_parts(html)
        try:
            if body is not None and _BODY not in body:
                return self._redraw((head, width, height, families), body)
            png: bytes = self._blitz.render_png(html, width=width, height=height, allow_file_urls=False)
        except BaseException as error:
            if not isinstance(error, ValueError | RuntimeError) and type(error).__name__ != "PanicException":
                raise
            raise RenderError(f"the embedded engine could not draw a page of {width} x {height} px: {error}") from error
        return png

    def close(self) -> None:
        """Forgets the documents that are kept."""
        with self._lock:
            self._idle.clear()

    def _redraw(self, key: Key, body: str) -> bytes:
        """The page on a kept document. One in use by another thread is not waited for; one that failed is not kept."""
        with self._lock:
            idle = self._idle.get(key)
            document = idle.pop() if idle else None
        if document is None:
            head, width, height, _ = key
            document = self._blitz.Template(
                f'{head}<body id="{_BODY}">{PAGE_END}', width=width, height=height, allow_file_urls=False
            )
        document.set_html(_BODY, body)
        png: bytes = document.render_png()
        with self._lock:
            self._idle.setdefault(key, []).append(document)
            self._idle.move_to_end(key)
            if len(self._idle) > _KEPT:
                self._idle.popitem(last=False)
        return png


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
