"""Fonts for Chinese, Japanese, Korean and more: found on the machine, never bundled, loaded when first needed.

`MEMAGENT_FALLBACK_FONT` names one or more font files (parted as in PATH; `none` for no fallback at all). When it is
not set, well-known files are looked for in the font folders of Linux, macOS and Windows. Files are tried in order, and
the first that has a character draws it. A page that needs none of them causes no look-up and no reading.

Each file becomes a family of its own, named after the digest of its bytes. That name stands in the HTML of every page
that uses the font, and so is part of the page's cache key: another font, another picture.

Only characters in `REACH` are taken: those that are drawn one by one, from left to right, so that the width of a line
is the sum of its advance widths. Letters of Latin, Greek and Cyrillic stay with the bundled faces, so that pages in
these scripts are the same on every machine (save Greek with the old accents, which the bundled faces lack).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

from memagent_renderers.errors import ConfigError
from memagent_renderers.fonts import sfnt
from memagent_renderers.fonts.faces import Face, face

VARIABLE = "MEMAGENT_FALLBACK_FONT"
FAMILY = "Memagent Fallback"
"""Beginning of the family names; 16 hexadecimal digits follow."""
ADVICE = f"apt install fonts-noto-cjk (or install Noto Sans CJK otherwise), or set {VARIABLE} to a font file"
"""What to do when there is no font for Chinese, Japanese and Korean."""
REACH = re.compile(
    "[\u0530-\u058f\u10a0-\u10ff\u1200-\u13ff\u1f00-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u20bf\u2100-\u2bff"
    "\u2e00-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffef\U00020000-\U0003ffff]"
)
"""Armenian, Georgian, Ethiopic, Cherokee, Greek with the old accents; signs; Chinese, Japanese, Korean, Yi."""
EAST_ASIAN = re.compile("[\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffef\U00020000-\U0003ffff]")
"""The part of `REACH` for which a font is asked for by `ADVICE`."""
FILES = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansCJKjp-Regular.otf", "NotoSansCJKkr-Regular.otf",
    "NotoSansCJKtc-Regular.otf", "NotoSansSC-Regular.otf", "NotoSansJP-Regular.otf", "NotoSansKR-Regular.otf",
    "SourceHanSans-Regular.ttc", "SourceHanSansSC-Regular.otf", "SourceHanSansCN-Regular.otf", "SourceHanSans-Regular.otf",
    "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf",
    "PingFang.ttc", "Hiragino Sans GB.ttc", "ヒラギノ角ゴシック W3.ttc", "STHeiti Light.ttc", "AppleSDGothicNeo.ttc",
    "msyh.ttc", "meiryo.ttc", "malgun.ttf", "simsun.ttc",
    "Arial Unicode.ttf", "seguisym.ttf", "DejaVuSans.ttf",
)  # fmt: skip
"""File names looked for, the preferred first; the last three are for signs and smaller scripts."""

_NAME = re.compile(FAMILY + " [0-9a-f]{16}")


def face_of(char: str) -> Face | None:
    """The first fallback face that draws `char`; None when there is none, or when it is out of `REACH`.

    Raises `ConfigError` when `MEMAGENT_FALLBACK_FONT` names a file that cannot be used.
    """
    return _face_of(char, os.environ.get(VARIABLE, "").strip()) if REACH.match(char) else None


def faces() -> Iterator[Face]:
    """Every fallback face in order of preference, each loaded when it is reached. Raises like `face_of`."""
    return _faces(os.environ.get(VARIABLE, "").strip())


def faces_in(html: str) -> list[Face]:
    """The fallback faces that a page names, for the engine that is about to draw it."""
    named = set(_NAME.findall(html)) if FAMILY in html else set()
    found: list[Face] = []
    for one in faces() if named else ():
        if one.name in named:
            found.append(one)
        if len(found) == len(named):
            break
    return found


def mark(characters: str) -> str:
    """The characters as HTML, each run of one fallback face between tags that name it."""
    runs = ((one.name if one else "", "".join(run)) for one, run in groupby(characters, face_of))
    return "".join(f"<span style=\"font-family:'{name}'\">{run}</span>" if name else run for name, run in runs)


def advice(missing: Iterable[str]) -> str:
    """What to install so that the `missing` characters can be drawn; empty when none is East Asian."""
    return f"for Chinese, Japanese and Korean: {ADVICE}" if any(map(EAST_ASIAN.match, missing)) else ""


@lru_cache(maxsize=32768)
def _face_of(char: str, asked: str) -> Face | None:
    return next((one for one in _faces(asked) if char in one.advances), None)


def _faces(asked: str) -> Iterator[Face]:
    if asked == "none":
        return
    if asked:
        for name in filter(None, asked.split(os.pathsep)):
            yield _asked_for(Path(name).expanduser())
        return
    for path in _installed():
        found = _usable(path)
        if found:
            yield found


def _asked_for(path: Path) -> Face:
    try:
        return load(path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{VARIABLE} names `{path}`, which cannot be used as a font ({error}); name a .ttf, .otf or .ttc file, or `none`"
        ) from error


@cache
def _usable(path: Path) -> Face | None:
    try:
        return load(path)
    except (OSError, ValueError):
        return None


@cache
def load(path: Path) -> Face:
    """A font file (the first face of a collection) as a fallback face. Raises `OSError` and `ValueError`."""
    data = path.read_bytes()
    name = f"{FAMILY} {hashlib.sha256(data).hexdigest()[:16]}"
    try:
        tables = sfnt.tables(data)
        packed = sfnt.repack(tables, name, sfnt.tables(face("regular").data))
        advances = {char: width for char, width in sfnt.advances(tables).items() if REACH.match(char)}
        return Face(name, 400, packed, sfnt.units_per_em(tables), advances, path)
    except (struct.error, IndexError) as error:
        raise ValueError("the file is damaged") from error


@cache
def _installed() -> tuple[Path, ...]:
    """Well-known font files of this machine, in the order of `FILES`."""
    wanted = {name.casefold(): place for place, name in reversed(list(enumerate(FILES)))}
    found: list[tuple[int, Path]] = []
    for folder in _folders():
        for parent, _, names in os.walk(folder):
            for name in names:
                place = wanted.get(unicodedata.normalize("NFC", name).casefold())
                if place is not None:
                    found.append((place, Path(parent, name)))
    return tuple(path for _, path in sorted(found))


def _folders() -> list[Path]:
    home = Path.home()
    windows = [os.environ.get("WINDIR", ""), os.environ.get("LOCALAPPDATA", "")]
    return [
        *(Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"),
        *(Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"),
        *(Path(root, part) for root, part in zip(windows, ("Fonts", "Microsoft/Windows/Fonts"), strict=True) if root),
    ]
