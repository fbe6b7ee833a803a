"""Fonts made on the spot, whose characters are black boxes, and what is dark on a page."""

from __future__ import annotations

import io
from pathlib import Path

import numpy
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image

IDEOGRAPHS = "東京都国語学校水火木金土日月年山川田中人口目耳手足力"


def tiny_font(
    path: Path, characters: str, *, advance: int = 1000, units: int = 1000, ascent: float = 1.0, cff: bool = False
) -> Path:
    """A font whose characters are black boxes, `advance` font units wide."""
    names = [".notdef", *(f"c{ord(char):x}" for char in characters)]
    builder = FontBuilder(units, isTTF=not cff)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(char): f"c{ord(char):x}" for char in characters})
    pen = T2CharStringPen(advance, None) if cff else TTGlyphPen(None)
    left, right, top = units // 10, advance - units // 10, units * 8 // 10
    pen.moveTo((left, 0))
    for point in ((left, top), (right, top), (right, 0)):
        pen.lineTo(point)
    pen.closePath()
    if cff:
        charstring = pen.getCharString()
        builder.setupCFF("Tiny", {}, dict.fromkeys(names, charstring), {})
    else:
        builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (advance, left)))
    builder.setupHorizontalHeader(ascent=round(ascent * units), descent=-units // 2)
    builder.setupNameTable({"familyName": "Tiny", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=round(ascent * units), usWinAscent=round(ascent * units))
    builder.setupPost()
    builder.save(path)
    return path


def collection(path: Path) -> Path:
    """Two tiny fonts in one file; only the first is used."""
    whole = TTCollection()
    for index, characters in enumerate((IDEOGRAPHS, "ab")):
        part = tiny_font(path.with_suffix(f".{index}.ttf"), characters)
        whole.fonts.append(TTFont(part))
    whole.save(path)
    return path


def ink(png: bytes) -> numpy.ndarray:
    """Where the page is dark; shape (height, width)."""
    return numpy.asarray(Image.open(io.BytesIO(png)).convert("L")) < 100
