"""What a layout engine is: a thing that draws one HTML page of a given size, alone and offline.

An engine gets complete documents made by `memagent_renderers.layout`, whose lines are already broken. It must know the bundled
typeface, run no script, open no file and no connection, and return a PNG of exactly the size asked for.
"""

from __future__ import annotations

import re
import struct
from typing import Protocol

from memagent_renderers.errors import RenderError

PAGE_END = "</body></html>"
_OTHER_TAG = re.compile(r"<(?!/?(?:b|br|code|div|em|h[1-6]|i|p|pre|s|small|span|strong|sub|sup|u)[\s/>])", re.IGNORECASE)
"""Anything in a body that is not one of the plain elements."""
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

    def draw(self, html: str, width: int, height: int) -> bytes:
        """PNG of the page, `width` x `height` px. Raises `RenderError`."""
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


def plain_parts(html: str) -> tuple[str, str | None]:
    """What stands before the body of a page, and the body; None for a body of more than plain elements.

    Only after plain pages may an engine go on with the same document: anything else might outlive its page.
    """
    head, _, body = html.partition("<body>")
    body, end, rest = body.rpartition(PAGE_END)
    return head, body if end and not rest and not _OTHER_TAG.search(body) else None
