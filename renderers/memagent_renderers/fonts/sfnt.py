"""Font files (TrueType or OpenType, alone or in a collection) read and repacked without a font library.

Laying out needs two things of a file: which characters it draws (`cmap`, formats 4 and 12) and how wide they are
(`hmtx`). An engine needs a third: one face, under a family name that no font of the system has. `repack` makes it: the
tables that draw, and nothing that could move a glyph (kerning, ligatures, bitmaps, vertical type).

What is no usable font raises `ValueError`; one that is damaged may raise `struct.error` or `IndexError` instead.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

Tables = dict[str, bytes]

_NEEDED = ("OS/2", "cmap", "head", "hhea", "hmtx", "maxp", "post")
_KEPT = (*_NEEDED, "CFF ", "cvt ", "fpgm", "gasp", "glyf", "loca", "prep")
_UNICODE = ((3, 10), (0, 6), (0, 4), (3, 1), (0, 3))
"""Platform and encoding of Unicode character maps, the widest first."""
_LINE_METRICS = {"hhea": (4, 3), "OS/2": (68, 5)}
"""Table -> place and number of the 16-bit fields that say how high a line is."""


def tables(data: bytes) -> Tables:
    """The tables of a font file; of a collection, those of its first face.

    Raises `ValueError` for what is no font, or one without the tables that engines need (only outlines in `glyf` or
    `CFF ` are drawn everywhere).
    """
    start = struct.unpack_from(">I", data, 12)[0] if data[:4] == b"ttcf" else 0
    if data[start : start + 4] not in (b"\0\1\0\0", b"OTTO", b"true"):
        raise ValueError("it is no TrueType or OpenType font")
    count = struct.unpack_from(">H", data, start + 4)[0]
    records = [struct.unpack_from(">4sIII", data, start + 12 + 16 * index) for index in range(count)]
    found = {tag.decode("latin-1"): data[offset : offset + length] for tag, _, offset, length in records}
    lacking = [tag for tag in _NEEDED if tag not in found]
    if lacking or not ("CFF " in found or {"glyf", "loca"} <= found.keys()):
        raise ValueError(f"it lacks {', '.join(lacking) or 'outlines in `glyf` or `CFF `'}")
    return found


def units_per_em(face: Tables) -> int:
    """Font units per em; advances are in these."""
    units = int(struct.unpack_from(">H", face["head"], 18)[0])
    if not units:
        raise ValueError("its em has no size")
    return units


def advances(face: Tables) -> dict[str, int]:
    """Advance width of every character that the face can draw, in font units."""
    count = struct.unpack_from(">H", face["hhea"], 34)[0]
    glyphs = struct.unpack_from(">H", face["maxp"], 4)[0]
    widths = struct.unpack_from(f">{2 * count}H", face["hmtx"])[::2]
    characters = _characters(face["cmap"], glyphs)
    return {chr(code): widths[min(glyph, count - 1)] for code, glyph in characters if 0 < glyph < glyphs}


def repack(face: Tables, family: str, like: Tables) -> bytes:
    """A font file with one face under the name `family`, whose lines are as high as those of the face `like`."""
    made = {tag: face[tag] for tag in _KEPT if tag in face}
    scale = units_per_em(face) / units_per_em(like)
    for tag, (place, count) in _LINE_METRICS.items():
        heights = struct.unpack_from(f">{count}h", like[tag], place)
        made[tag] = _with(made[tag], place, f">{count}h", *(round(height * scale) for height in heights))
    made["OS/2"] = _with(_with(made["OS/2"], 4, ">H", 400), 62, ">H", 0x40)  # weight and style: regular
    made["head"] = _with(made["head"], 44, ">H", 0)
    made["post"] = _with(made["post"][:32], 0, ">I", 0x00030000)  # without glyph names
    made["name"] = _names(family)
    return _file(b"OTTO" if "CFF " in face else b"\0\1\0\0", made)


def _with(table: bytes, place: int, form: str, *values: int) -> bytes:
    changed = bytearray(table)
    struct.pack_into(form, changed, place, *values)
    return bytes(changed)


def _names(family: str) -> bytes:
    """A `name` table with family, style, full name and PostScript name."""
    texts = {1: family, 2: "Regular", 4: family, 6: family.replace(" ", "")}
    records, strings = b"", b""
    for identifier, text in texts.items():
        encoded = text.encode("utf-16-be")
        records += struct.pack(">6H", 3, 1, 0x409, identifier, len(encoded), len(strings))
        strings += encoded
    return struct.pack(">3H", 0, len(texts), 6 + len(records)) + records + strings


def _file(version: bytes, made: Mapping[str, bytes]) -> bytes:
    """Tables as one font file."""
    import numpy

    power = len(made).bit_length() - 1
    header = version + struct.pack(">4H", len(made), 16 << power, power, 16 * len(made) - (16 << power))
    at = len(header) + 16 * len(made)
    body: list[bytes] = []
    for tag in sorted(made):
        padded = made[tag] + b"\0" * (-len(made[tag]) % 4)
        checksum = int(numpy.frombuffer(padded, ">u4").sum(dtype=numpy.uint64)) & 0xFFFFFFFF
        header += struct.pack(">4sIII", tag.encode("latin-1"), checksum, at, len(made[tag]))
        body.append(padded)
        at += len(padded)
    return b"".join([header, *body])


def _characters(cmap: bytes, glyphs: int) -> Iterator[tuple[int, int]]:
    """Code point and glyph of each character, out of the widest Unicode map in format 4 or 12; glyph 0 is none."""
    count = struct.unpack_from(">H", cmap, 2)[0]
    places = {(platform, kind): at for platform, kind, at in struct.iter_unpack(">HHI", cmap[4 : 4 + 8 * count])}
    for key in _UNICODE:
        form = struct.unpack_from(">H", cmap, places[key])[0] if key in places else 0
        if form in (4, 12):
            return _segments(cmap, places[key]) if form == 4 else _groups(cmap, places[key], glyphs)
    raise ValueError("it has no Unicode character map in format 4 or 12")


def _groups(cmap: bytes, start: int, glyphs: int) -> Iterator[tuple[int, int]]:
    """A map in format 12: runs of code points with runs of glyphs, of which a face has `glyphs`."""
    count = struct.unpack_from(">I", cmap, start + 12)[0]
    for first, last, glyph in struct.iter_unpack(">III", cmap[start + 16 : start + 16 + 12 * count]):
        for code in range(first, min(last, first + glyphs - glyph, 0x10FFFF) + 1):
            yield code, glyph + code - first


def _segments(cmap: bytes, start: int) -> Iterator[tuple[int, int]]:
    """A map in format 4: segments whose glyphs are counted on or looked up in an array."""
    segments = struct.unpack_from(">H", cmap, start + 6)[0] // 2

    def column(index: int) -> tuple[int, ...]:
        padding = 2 if index else 0  # a reserved word stands between the first column and the second
        return struct.unpack_from(f">{segments}H", cmap, start + 14 + 2 * segments * index + padding)

    ends, starts, deltas, offsets = (column(index) for index in range(4))
    offsets_at = start + 16 + 6 * segments
    for index in range(segments):
        for code in range(starts[index], min(ends[index], 0xFFFE) + 1):
            if offsets[index] == 0:
                glyph = (code + deltas[index]) & 0xFFFF
            else:
                at = offsets_at + 2 * index + offsets[index] + 2 * (code - starts[index])
                glyph = struct.unpack_from(">H", cmap, at)[0]
                glyph = (glyph + deltas[index]) & 0xFFFF if glyph else 0
            yield code, glyph
