"""What a layout engine is: a thing that paints one page, alone and offline.

An engine gets pages made by `memagent_renderers.layout`, whose lines are already broken and placed: stretches of text in
one style (`Span`), each with its face, size and place. It returns a PNG of exactly the page's size.
"""

from __future__ import annotations

import struct
from typing import Protocol

from memagent_renderers.errors import RenderError
from memagent_renderers.layout import Page

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


class Engine(Protocol):
    """Draws pages. Safe to share between threads."""

    @property
    def name(self) -> str:
        """Its key in `memagent_renderers.engines.ENGINES`."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same page may be drawn differently; part of the cache key."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether it can be pickled into other processes, where it draws the same bytes. If not, batches stay here."""
        ...

    def draw(self, page: Page) -> bytes:
        """PNG of the page, `page.width` x `page.height` px. Raises `RenderError`."""
        ...

    def close(self) -> None:
        """Frees what the engine holds; it may be called twice, and drawing again afterwards starts anew."""
        ...


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height that the header of a PNG states. Raises `RenderError` when it is not a PNG."""
    if len(png) < 33 or not png.startswith(PNG_MAGIC) or png[12:16] != b"IHDR":
        raise RenderError(f"the engine did not return a PNG but {len(png)} bytes beginning with {png[:8]!r}")
    width, height = struct.unpack_from(">II", png, 16)
    return int(width), int(height)
