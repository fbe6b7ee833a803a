"""Makes the bundled fonts from the published variable font; run by maintainers only (see README.md in this folder).

    python renderers/memagent_renderers/fonts/subset.py "RobotoCondensed[wght].ttf" "RobotoCondensed-Italic[wght].ttf"

Three static faces (regular, bold, italic) are cut out of the variable fonts, reduced to Latin, Greek, Cyrillic and
common signs, and stripped of kerning and ligatures: without them the width of a line is the plain sum of its advance
widths, which is what `memagent_renderers.layout` adds up. Hinting stays in the files; no engine of
today uses it. The family gets a name of its own, so that no copy on the user's system can be taken for it.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from fontTools import subset  # type: ignore[import-untyped,import-not-found,unused-ignore]
from fontTools.ttLib import TTFont  # type: ignore[import-untyped,import-not-found,unused-ignore]
from fontTools.varLib import instancer  # type: ignore[import-untyped,import-not-found,unused-ignore]

FAMILY = "Memagent Condensed"
FACES = {"regular": (0, 400), "bold": (0, 700), "italic": (1, 400)}
"""Face -> (which of the two files it is cut from, weight)."""
RANGES = [
    (0x20, 0x7E), (0xA0, 0x24F), (0x259, 0x259), (0x2B0, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x1E00, 0x1EFF),
    (0x2010, 0x2044), (0x2070, 0x209F), (0x20A0, 0x20BF), (0x2100, 0x218F), (0x2200, 0x22FF), (0x25CA, 0x25CA),
    (0xFB01, 0xFB02), (0xFFFD, 0xFFFD),
]  # fmt: skip
NAMES_KEPT = (0, 7, 8, 9, 11, 13, 14)
"""Copyright, trademark, maker, designer, addresses and licence stay as the authors wrote them."""


def make_face(source: Path, name: str, weight: int) -> bytes:
    """One static subset of `source` at `weight`, under the family name `FAMILY`."""
    font = TTFont(source, recalcTimestamp=False)
    font = instancer.instantiateVariableFont(font, {"wght": weight}, inplace=True)
    options = subset.Options(hinting=True, layout_features=["ccmp", "locl", "mark", "mkmk"], notdef_outline=True)
    options.name_IDs = list(NAMES_KEPT)
    options.drop_tables += ["STAT"]
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
    cutter.subset(font)
    rename(font, name, weight)
    target = Path(__file__).parent / f"memagent-condensed-{name}.ttf"
    font.save(target, reorderTables=True)
    return target.read_bytes()


def rename(font: TTFont, name: str, weight: int) -> None:
    """Family, style and PostScript names of our own; a subset is a modified version."""
    style = name.capitalize()
    made = {
        1: FAMILY,
        2: style,
        3: f"{FAMILY} {style}; subset of Roboto Condensed 3.008",
        4: f"{FAMILY} {style}",
        5: "Version 3.008; subset",
        6: f"{FAMILY.replace(' ', '')}-{style}",
    }
    for identifier, text in made.items():
        font["name"].setName(text, identifier, 3, 1, 0x409)
    font["OS/2"].usWeightClass = weight
    flags = {"regular": (0x40, 0), "bold": (0x20, 1), "italic": (0x01, 2)}[name]
    font["OS/2"].fsSelection = (font["OS/2"].fsSelection & ~0x61) | flags[0]
    font["head"].macStyle = flags[1]


def main() -> None:
    """Writes the faces and prints their sizes and the digest for `memagent_renderers.fonts.DIGEST`."""
    digest = hashlib.sha256()
    for name, (source, weight) in FACES.items():
        data = make_face(Path(sys.argv[1 + source]), name, weight)
        digest.update(data)
        print(f"{name}: {len(data)} bytes")
    print(f'DIGEST = "{digest.hexdigest()}"')


if __name__ == "__main__":
    main()
