"""Fonts for what the bundled faces lack: the machine's own, found by Skia's font manager, loaded when first needed.

`MEMAGENT_FALLBACK_FONT` names one or more font files instead (parted as in PATH; the first that has a character draws it),
or is `none` for no fallback at all. A page that needs no fallback causes no look-up and no reading.

Each font becomes a family of its own, named after a digest of its tables. That name stands in the page, and so is part of
the page's cache key: another font, another picture. Letters of Latin, Greek and Cyrillic stay with the bundled faces, so
that pages in these scripts are the same on every machine (save Greek with the old accents, which the bundled faces lack).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from memagent_renderers.errors import ConfigError
from memagent_renderers.fonts.faces import Face, skia

VARIABLE = "MEMAGENT_FALLBACK_FONT"
FAMILY = "Memagent Fallback"
"""Beginning of the family names; 16 hexadecimal digits follow."""
PACKAGES = (
    ("Chinese, Japanese and Korean", "fonts-noto-cjk",
     re.compile("[\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffef\U00020000-\U0003ffff]")),
    ("emoji", "fonts-noto-color-emoji", re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")),
    ("other scripts", "fonts-noto-core", re.compile("[\u0530-\u1fff\u2c00-\u2dff\ua500-\uabff\ufb13-\ufdff\ufe70-\ufeff]")),
)  # fmt: skip
"""Characters that may be missing by kind, and the Debian package that has them."""
EMOJI = re.compile("[\u231a\u231b\u23e9-\u23f3\u25fd\u25fe\u2614\u2615\u2648-\u2653\u267f\u2693\u26a1\u26aa\u26ab\u26bd\u26be"
                   "\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2\u26f3\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728\u274c\u274e"
                   "\u2753-\u2755\u2757\u2795-\u2797\u27b0\u27bf\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001faff]")  # fmt: skip
"""Characters that are shown as emoji unless something else is asked for."""
EAST_ASIAN = PACKAGES[0][2]

_BUNDLED_SCRIPTS = re.compile("[\u0041-\u024f\u0370-\u03ff\u0400-\u052f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f]")
_NAME = re.compile(FAMILY + " [0-9a-f]{16}")
_by_name: dict[str, Face] = {}


def face_of(char: str, *, emoji: bool = False) -> Face | None:
    """The fallback face that draws `char`, if asked for as an emoji; None when there is none, or when it is of a script of
    the bundled faces.

    Raises `ConfigError` when `MEMAGENT_FALLBACK_FONT` names a file that cannot be used.
    """
    if _BUNDLED_SCRIPTS.match(char):
        return None
    return _face_of(char, emoji or bool(EMOJI.match(char)), os.environ.get(VARIABLE, "").strip())


def by_name(name: str) -> Face:
    """A face that this process found before."""
    return _by_name[name]


def faces_in(html: str) -> list[Face]:
    """The fallback faces that a page names, for the engine that is about to draw it."""
    return [_by_name[name] for name in dict.fromkeys(_NAME.findall(html)) if name in _by_name] if FAMILY in html else []


def advice(missing: Iterable[str]) -> str:
    """What to install so that the `missing` characters can be drawn; empty when no package is known for them."""
    text = "".join(missing)
    found = [f"for {what}: apt install {package}" for what, package, kind in PACKAGES if kind.search(text)]
    return "; ".join([*found, f"or set {VARIABLE} to a font file"]) if found else ""


@lru_cache(maxsize=32768)
def _face_of(char: str, emoji: bool, asked: str) -> Face | None:
    if asked == "none":
        return None
    if asked:
        files = (_asked_for(Path(os.path.expanduser(name))) for name in asked.split(os.pathsep) if name)
        return next((one for one in files if one.typeface.unicharToGlyph(ord(char))), None)
    # Without the hint for emoji a text font that has a black and white drawing would come first.
    for languages in (["und-Zsye"], []) if emoji else ([],):
        found = _manager().matchFamilyStyleCharacter("", skia().FontStyle(), languages, ord(char))
        if found and found.unicharToGlyph(ord(char)):
            return _face(found)
    return None


@cache
def _asked_for(path: Path) -> Face:
    try:
        path.open("rb").close()
        found = skia().FontMgr.New_Custom_Empty().makeFromFile(str(path), 0)
        if not found or not found.countGlyphs():
            raise ValueError("it is no TrueType or OpenType font")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{VARIABLE} names `{path}`, which cannot be used as a font ({error}); name a .ttf, .otf or .ttc file, or `none`"
        ) from error
    return _face(found, path)


def _face(typeface: Any, source: Path | None = None) -> Face:
    """A face of ours for a typeface of Skia's; one object for each font."""
    digest = hashlib.sha256(f"{typeface.getFamilyName()} {typeface.fontStyle()}".encode())
    tags = typeface.getTableTags()
    for tag in (b"head", b"hhea", b"maxp", b"OS/2", b"hmtx", b"cmap"):  # `head` holds a checksum of the whole file
        number = int.from_bytes(tag, "big")
        if number in tags:
            digest.update(bytes(typeface.getTableData(number)))
    name = f"{FAMILY} {digest.hexdigest()[:16]}"
    if name not in _by_name:
        colours = {int.from_bytes(tag, "big") for tag in (b"COLR", b"CBDT", b"sbix", b"SVG ")}
        units, coloured = typeface.getUnitsPerEm() or 1000, bool(colours & set(tags))
        _by_name[name] = Face(name, typeface, units, coloured=coloured, source=source)
    return _by_name[name]


@cache
def _manager() -> Any:
    """The system's font manager. The fontconfig inside skia-python is older than most systems' rules and warns of each
    rule that it does not know; those lines are kept off the user's terminal."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        return skia().FontMgr()
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        return skia().FontMgr()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
