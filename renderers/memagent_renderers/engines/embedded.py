"""Skia in process: the places that layout computed, painted as they are; no HTML, no scripts, no network (`skia-python`).

Glyphs are not hinted, stand where they belong to a quarter of a pixel, and are smoothed in grey. Those settings matter: with
hints or on whole pixels OCR reads .87 to .95 of the words of a dense page instead of .97; `CONTRAST` adds a little. Tried
before: Blitz, a CSS engine (as legible, 6 to 7 ms a page instead of 1 ms), and FreeType through Pillow (.924, and slower).

The PNG is written here, grey where the page is, by zlib at level 1 without filters: 1.5 ms for a page of 256 tokens, where
Pillow takes 3.5 ms at level 1 and 6.7 ms at level 6 for files of the same size, and Skia's own encoder 5.4 ms.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from memagent_renderers import fonts
from memagent_renderers.engines.base import PNG_MAGIC
from memagent_renderers.errors import RenderError
from memagent_renderers.fonts.faces import ASCENT, DESCENT, skia
from memagent_renderers.layout import Page
from memagent_renderers.line_layout import Span

CODE_BACKGROUND = "#f0f0f0"
CONTRAST = 0.75
"""Power to which the darkness of every pixel is raised: thin strokes come out darker, as Chromium's do. OCR then reads .976 of
the words at 7.5 px instead of .968, and .936 instead of .929 at 7 px (800 words each, bold type alike)."""
_CURVE = bytes(round(255 * (1 - (1 - value / 255) ** CONTRAST)) for value in range(256))


_NO_FILTER = 0
"""The first byte of each row of a PNG; the curve leaves it alone."""


class EmbeddedEngine:
    """Draws with Skia. The same page gives the same pixels on every platform, save what fonts of the machine draw."""

    name = "embedded"
    parallel = True

    def __init__(self) -> None:
        skia()
        self.version = version("skia-python")

    def draw(self, page: Page) -> bytes:
        """PNG of the page. Raises `RenderError` for a size that Skia cannot hold."""
        kit = skia()
        coloured = any(span.style.coloured or fonts.named(span.face).coloured for span in page.spans)
        kind = kit.kRGBA_8888_ColorType if coloured else kit.kGray_8_ColorType
        info = kit.ImageInfo.Make(page.width, page.height, kind, kit.kOpaque_AlphaType)
        surface = kit.Surface.MakeRaster(info)
        if surface is None:
            raise RenderError(f"the embedded engine cannot draw a page of {page.width} x {page.height} px")
        canvas = surface.getCanvas()
        canvas.clear(kit.ColorWHITE)
        for span in page.spans:
            if colour := span.style.background or (CODE_BACKGROUND if span.style.code else None):
                line, (ascent, descent) = _baseline(span), _metrics(span.size)
                box = kit.Rect.MakeLTRB(span.left, line - ascent, span.left + span.width, line + descent)
                canvas.drawRect(box, _ink(colour))
        for span in page.spans:
            _paint(canvas, span)
        return _png(surface, page.width, page.height, coloured=coloured)

    def close(self) -> None:
        """Nothing to free."""


@lru_cache(maxsize=256)
def _metrics(size: float) -> tuple[int, int]:
    """Ascent and descent in whole px as Chromium has them: a descent that was rounded down borrows a pixel."""
    ascent, descent = round(ASCENT * size), round(DESCENT * size)
    return (ascent - 1, descent + 1) if descent < DESCENT * size else (ascent, descent)


def _baseline(span: Span) -> int:
    """Where the letters of a span stand, in px of the page."""
    ascent, descent = _metrics(span.size)
    return span.top + (span.height - ascent - descent) // 2 + ascent


def _paint(canvas: Any, span: Span) -> None:
    kit, line, style = skia(), _baseline(span), span.style
    ink, font = _ink(style.colour or "#000000"), _font(span.face, span.size)
    face = fonts.named(span.face)
    if face.advances and not span.rtl and fonts.is_plain(span.text):
        canvas.drawString(span.text, span.left, line, font, ink)
    elif span.text.strip():
        shaped, scale = fonts.shape(span.face, span.text, span.rtl), span.size / face.units
        builder = kit.TextBlobBuilder()
        builder.allocRunPos(font, shaped.glyphs, [kit.Point(x * scale, -y * scale) for x, y in shaped.places])
        canvas.drawTextBlob(builder.make(), span.left, line, ink)
    thick = max(1, round(span.size / 16))
    for wanted, top in ((style.underline, line + thick), (style.strike, line - round(0.28 * span.size))):
        if wanted:
            canvas.drawRect(kit.Rect.MakeXYWH(span.left, top, span.width, thick), ink)


@lru_cache(maxsize=256)
def _font(name: str, size: float) -> Any:
    kit = skia()
    font = kit.Font(fonts.named(name).typeface, size)
    font.setHinting(kit.FontHinting.kNone)
    font.setSubpixel(True)
    font.setEdging(kit.Font.Edging.kAntiAlias)
    font.setLinearMetrics(True)
    return font


@lru_cache(maxsize=256)
def _ink(colour: str) -> Any:
    """A paint that gives this colour once `_CURVE` was applied."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (round(255 * (1 - (1 - value) ** (1 / CONTRAST))) for value in channels)
    return skia().Paint(Color=0xFF000000 | red << 16 | green << 8 | blue, AntiAlias=True)


def _png(surface: Any, width: int, height: int, *, coloured: bool) -> bytes:
    import numpy

    kit = skia()
    pixmap = kit.Pixmap()
    surface.peekPixels(pixmap)
    pixels = numpy.frombuffer(memoryview(pixmap), numpy.uint8).reshape(height, -1)
    if coloured:
        pixels = pixels.reshape(height, width, 4)[:, :, :3].reshape(height, -1)
    rows = numpy.full((height, pixels.shape[1] + 1), _NO_FILTER, numpy.uint8)
    rows[:, 1:] = pixels
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2 if coloured else 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes().translate(_CURVE), 1)),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
    return PNG_MAGIC + b"".join(chunks)
