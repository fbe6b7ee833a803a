"""One font file as layout and engines see it, and the three that are bundled.

Skia opens the files, because it draws them: advance widths are those that it draws with. (fontTools reads the same numbers;
to import and to parse took 0.13 s a process instead of 0.02 s.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from memagent_renderers.errors import MissingExtra

UNKNOWN = "�"
"""Drawn in place of characters that no face has."""
ASCENT, DESCENT = 1900 / 2048, 500 / 2048
"""Of the bundled faces, as shares of the type size: a line of text stands in the middle of its height."""
_OUTLINES = frozenset((b"glyf", b"loca", b"CFF ", b"CFF2", b"CBDT", b"CBLC", b"SVG ", b"sbix", b"COLR", b"CPAL"))
"""Tables that shaping needs nothing of, most of a font's bytes."""
_LAST = 0xFFFE
"""The bundled faces have no character from here on."""


@dataclass(frozen=True, eq=False)
class Face:
    """One font: `name` is "regular", "bold" or "italic" for a bundled face, a family with a digest for one of the machine."""

    name: str
    typeface: Any = field(repr=False)
    """`skia.Typeface`; skia-python has no types."""
    units: int
    """Font units per em; advances are in these."""
    advances: Mapping[str, int] = field(repr=False, default_factory=dict)
    """Advance width of every character of a bundled face, in font units; empty for others, whose text is shaped."""
    coloured: bool = False
    """Its glyphs have colours of their own (emoji)."""

    source: Path | None = None
    """The file that it was read from; None for one that the font manager found and for bundled ones."""

    @property
    def data(self) -> bytes:
        """The file, for engines that load it themselves. Not for fonts of the font manager, which they find themselves."""
        return self.source.read_bytes() if self.source else _bundled(self.name)

    @cached_property
    def harfbuzz(self) -> Any:
        """`uharfbuzz.Font` in font units."""
        import uharfbuzz

        if self.source or self.advances:
            return uharfbuzz.Font(uharfbuzz.Face(self.data))
        tables = {tag.to_bytes(4, "big"): tag for tag in self.typeface.getTableTags()}
        wanted = {name: bytes(self.typeface.getTableData(tag)) for name, tag in tables.items() if name not in _OUTLINES}
        font = uharfbuzz.Font(uharfbuzz.Face(_font_file(wanted)))
        if b"fvar" in tables:
            position = self.typeface.getVariationDesignPosition()
            font.set_variations({axis.axis.to_bytes(4, "big").decode(): axis.value for axis in position})
        return font

    def width(self, text: str) -> int:
        """Advance width of `text` in font units of a bundled face; characters that it lacks count as `UNKNOWN`."""
        advances = self.advances
        try:
            return sum([advances[char] for char in text])
        except KeyError:
            unknown = advances[UNKNOWN]
            return sum(advances.get(char, unknown) for char in text)


@cache
def skia() -> Any:
    """The module, or `MissingExtra` with what its native libraries need."""
    try:
        import skia
    except ImportError as error:
        raise MissingExtra(
            f"Skia, which draws pages, ({error})", "pip install skia-python; on Debian also: apt install libegl1 libgl1"
        ) from error
    return skia


@cache
def face(name: str) -> Face:
    """The bundled face called "regular", "bold" or "italic"; read once per process."""
    kit = skia()
    typeface = kit.FontMgr.New_Custom_Empty().makeFromData(kit.Data.MakeWithCopy(_bundled(name)), 0)
    units = typeface.getUnitsPerEm()
    glyphs = typeface.unicharsToGlyphs(list(range(0x20, _LAST)))
    covered = {chr(0x20 + place): glyph for place, glyph in enumerate(glyphs) if glyph}
    font = kit.Font(typeface, units)
    font.setHinting(kit.FontHinting.kNone)
    font.setLinearMetrics(True)
    widths = font.getWidths(list(covered.values()))
    return Face(name, typeface, units, {char: round(width) for char, width in zip(covered, widths, strict=True)})


def all_faces() -> list[Face]:
    """Every bundled face."""
    return [face("regular"), face("bold"), face("italic")]


def _font_file(tables: Mapping[bytes, bytes]) -> bytes:
    """OpenType tables as one font file for HarfBuzz, which looks at no checksum."""
    power = len(tables).bit_length() - 1
    head = b"\0\1\0\0"
    for number in (len(tables), 16 << power, power, 16 * len(tables) - (16 << power)):
        head += number.to_bytes(2, "big")
    at, body = len(head) + 16 * len(tables), b""
    for tag in sorted(tables):
        data = tables[tag]
        head += tag + bytes(4) + (at + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data + bytes(-len(data) % 4)
    return head + body


@cache
def _bundled(name: str) -> bytes:
    return files(__package__).joinpath(f"memagent-condensed-{name}.ttf").read_bytes()
