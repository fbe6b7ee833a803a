"""The bundled typeface: bytes for the engines, advance widths for the layout, coverage for honest reports.

Three static faces of "Memagent Condensed", a subset of Roboto Condensed (README.md in this folder says how it was
made). They carry no kerning and no ligatures, so the width of a line is the sum of its characters' advance widths.
Those, and the set of characters that can be drawn, are read straight from the `cmap` and `hmtx` tables: no font
library is needed to lay a page out.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

FAMILY = "Memagent Condensed"
DIGEST = "129f576adbe6b47c5cecddda77d97434033aca6113ac412297f647865a0838ef"
"""SHA-256 over the bytes of the faces in the order of `all_faces`. Part of every picture's cache key."""
UNKNOWN = "�"
"""Drawn in place of characters that no bundled face has."""


@dataclass(frozen=True)
class Face:
    """One static font file and what the layout needs to know of it."""

    name: str
    weight: int
    data: bytes = field(repr=False)
    units: int
    """Font units per em; advances are in these."""
    advances: dict[str, int] = field(repr=False)
    """Advance width of every character that the face can draw, in font units."""

    def width(self, text: str) -> int:
        """Advance width of `text` in font units; characters that the face lacks count as `UNKNOWN`."""
        advances = self.advances
        try:
            return sum([advances[char] for char in text])
        except KeyError:
            unknown = advances[UNKNOWN]
            return sum(advances.get(char, unknown) for char in text)


@cache
def face(name: str) -> Face:
    """The face called "regular", "bold" or "italic"; read once per process."""
    data = files(__package__).joinpath(f"memagent-condensed-{name}.ttf").read_bytes()
    tables = _tables(data)
    units = int(struct.unpack_from(">H", data, tables["head"] + 18)[0])
    return Face(name, 700 if name == "bold" else 400, data, units, _advances(data, tables))


def all_faces() -> list[Face]:
    """Every bundled face."""
    return [face("regular"), face("bold"), face("italic")]


def substitute(text: str) -> tuple[str, set[str]]:
    """`text` with one `UNKNOWN` for each run of characters that cannot be drawn, and the set of those characters."""
    drawable = face("regular").advances
    missing = {char for char in set(text) if char not in drawable and char not in "\n\t"}
    if not missing:
        return text, missing
    run = re.compile("[" + re.escape("".join(sorted(missing))) + "]+")
    return run.sub(UNKNOWN, text), missing


def _tables(data: bytes) -> dict[str, int]:
    """Offset of each table in a font file."""
    count = struct.unpack_from(">H", data, 4)[0]
    records = (struct.unpack_from(">4sIII", data, 12 + 16 * index) for index in range(count))
    return {tag.decode("ascii"): offset for tag, _, offset, _ in records}


def _advances(data: bytes, tables: dict[str, int]) -> dict[str, int]:
    long_metrics = struct.unpack_from(">H", data, tables["hhea"] + 34)[0]

    def advance(glyph: int) -> int:
        return int(struct.unpack_from(">H", data, tables["hmtx"] + 4 * min(glyph, long_metrics - 1))[0])

    return {chr(code): advance(glyph) for code, glyph in _glyphs(data, tables["cmap"]).items()}


def _glyphs(data: bytes, cmap: int) -> dict[int, int]:
    """Code point -> glyph index, out of the Windows Unicode sub-table, which our faces keep in format 4."""
    count = struct.unpack_from(">H", data, cmap + 2)[0]
    records = [struct.unpack_from(">HHI", data, cmap + 4 + 8 * index) for index in range(count)]
    start = cmap + next(offset for platform, encoding, offset in records if (platform, encoding) == (3, 1))
    segments = struct.unpack_from(">H", data, start + 6)[0] // 2

    def column(index: int) -> tuple[int, ...]:
        padding = 2 if index else 0  # a reserved word stands between the first column and the second
        return struct.unpack_from(f">{segments}H", data, start + 14 + 2 * segments * index + padding)

    ends, starts, deltas, offsets = (column(index) for index in range(4))
    offsets_at = start + 16 + 6 * segments
    glyphs: dict[int, int] = {}
    for index in range(segments):
        for code in range(starts[index], min(ends[index], 0xFFFE) + 1):
            if offsets[index] == 0:
                glyph = (code + deltas[index]) & 0xFFFF
            else:
                at = offsets_at + 2 * index + offsets[index] + 2 * (code - starts[index])
                glyph = struct.unpack_from(">H", data, at)[0]
                glyph = (glyph + deltas[index]) & 0xFFFF if glyph else 0
            if glyph:
                glyphs[code] = glyph
    return glyphs
