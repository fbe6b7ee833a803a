"""A static font file as the layout sees it, and the three that are bundled."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from memagent_renderers.fonts import sfnt

UNKNOWN = "�"
"""Drawn in place of characters that no face has."""


@dataclass(frozen=True)
class Face:
    """One static font file and what the layout needs to know of it."""

    name: str
    """"regular", "bold" or "italic" for a bundled face, the family for a fallback."""
    weight: int
    data: bytes = field(repr=False)
    units: int
    """Font units per em; advances are in these."""
    advances: dict[str, int] = field(repr=False)
    """Advance width of every character that the face can draw (a fallback: should draw), in font units."""
    source: Path | None = None
    """The file of the machine that a fallback was read from; None for a bundled face."""

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
    """The bundled face called "regular", "bold" or "italic"; read once per process."""
    data = files(__package__).joinpath(f"memagent-condensed-{name}.ttf").read_bytes()
    tables = sfnt.tables(data)
    return Face(name, 700 if name == "bold" else 400, data, sfnt.units_per_em(tables), sfnt.advances(tables))


def all_faces() -> list[Face]:
    """Every bundled face."""
    return [face("regular"), face("bold"), face("italic")]
