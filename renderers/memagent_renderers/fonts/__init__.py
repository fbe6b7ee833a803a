"""Typefaces: bytes for the engines, advance widths for the layout, coverage for honest reports.

Three static faces of "Memagent Condensed", a subset of Roboto Condensed (README.md in this folder says how it was
made), are bundled. They carry no kerning and no ligatures, so the width of a line is the sum of its characters'
advance widths. A character that they lack is, in this order,

1. written with others that mean the same (`stand_in`), so that these pages are alike on every machine,
2. drawn by a font of the machine (`fallback`), shaped where its script asks for it (`shaping`),
3. shown as one "�" for each run of such characters, and reported.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache, lru_cache

from memagent_renderers.fonts import fallback
from memagent_renderers.fonts.faces import UNKNOWN, Face, all_faces, face
from memagent_renderers.fonts.shaping import RIGHT_TO_LEFT, named, shape

__all__ = [
    "DIGEST",
    "FAMILY",
    "UNKNOWN",
    "Face",
    "all_faces",
    "face",
    "fallback",
    "is_plain",
    "named",
    "run_width",
    "runs",
    "shape",
    "stand_in",
    "substitute",
    "width",
]

FAMILY = "Memagent Condensed"
DIGEST = "129f576adbe6b47c5cecddda77d97434033aca6113ac412297f647865a0838ef"
"""SHA-256 over the bytes of the faces in the order of `all_faces`. Part of every picture's cache key."""

_SAME = {
    "\u202f": "\u00a0", "‒": "–", "―": "—", "‖": "||", "∗": "*", "∙": "·", "⋅": "·", "∕": "/", "∼": "~", "″": '"',
    "→": "->", "➔": "->", "➜": "->", "➞": "->", "⟶": "->", "←": "<-", "⟵": "<-", "↔": "<->", "⇒": "=>", "⇔": "<=>",
    "✓": "√", "✔": "√", "✗": "×", "✘": "×", "✕": "×", "✖": "×", "☐": "[ ]", "☑": "[x]", "☒": "[x]",
    "‣": "•", "⁃": "•", "▪": "•", "▸": "•", "►": "•", "▶": "•", "➤": "•",
}  # fmt: skip
_KINDS = ("<compat>", "<font>", "<noBreak>")
"""Unicode decompositions that keep the meaning: ligatures, Roman numerals, dressed-up letters. Not powers ("x²")."""
_ZWJ = "\u200d"
_EMOJI_STYLE = "\ufe0f"
_JOINERS = frozenset((_ZWJ, "\u200c", _EMOJI_STYLE))
"""Invisible characters that shape what stands beside them."""
_MARKS = re.compile("[\u0300-\u036f]")
_RAISED, _LOWERED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"), str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def substitute(text: str) -> tuple[str, set[str]]:
    """`text` as it can be drawn, and the set of characters that cannot be: "�" stands for each run of those."""
    missing: set[str] = set()

    def shown(run: re.Match[str]) -> str:
        parts: list[str] = []
        for char in run[0]:
            part = stand_in(char)
            if not part and char in _JOINERS:
                part = char if parts and parts[-1] is not UNKNOWN else ""
            elif not part:
                part = char if fallback.face_of(char) else UNKNOWN
            if part is UNKNOWN:
                missing.add(char)
            if part is not UNKNOWN or parts[-1:] != [UNKNOWN]:
                parts.append(part)
        return "".join(parts)

    return _foreign().sub(shown, text), missing


def width(name: str, text: str) -> int:
    """Advance width of `text`, which `substitute` has seen, in units of the bundled face `name`."""
    own = face(name)
    try:
        return sum([own.advances[char] for char in text])
    except KeyError:
        return math.ceil(sum(run_width(one, part) for one, part in runs(name, text)))


def run_width(name: str, text: str, *, rtl: bool | None = None) -> float:
    """Advance width, in units of the bundled faces, of one run of the face called `name`; `rtl` is told from its letters."""
    one = named(name)
    if rtl is None:
        rtl = bool(RIGHT_TO_LEFT.search(text))
    if one.advances and not rtl and is_plain(text):
        return one.width(text)
    return shape(name, text, rtl).advance * face("regular").units / one.units


def is_plain(text: str) -> bool:
    """Whether the bundled faces draw all of `text`, a glyph for each character, from left to right."""
    return text.isascii() or not (_foreign().search(text) or _MARKS.search(text))


def runs(name: str, text: str) -> list[tuple[str, str]]:
    """`text` in runs of one face: the name of the face, which is `name` or that of a fallback, and the run.

    Marks, joiners and what follows a joiner stay with the character before them.
    """
    own = face(name).advances
    found: list[tuple[str, str]] = []
    for place, char in enumerate(text):
        stays = found and (char in _JOINERS or found[-1][1][-1] == _ZWJ or unicodedata.combining(char))
        if stays and (found[-1][0] != name or char in own):
            one = found[-1][0]
        else:
            fallen = None if char in own else fallback.face_of(char, emoji=text[place + 1 : place + 2] == _EMOJI_STYLE)
            one = fallen.name if fallen else name
        if found and found[-1][0] == one:
            found[-1] = (one, found[-1][1] + char)
        else:
            found.append((one, char))
    return found


@lru_cache(maxsize=4096)
def stand_in(char: str) -> str:
    """What the bundled faces can draw and means the same as `char`; empty when there is nothing."""
    kind = unicodedata.decomposition(char).partition(" ")[0]
    if char in _SAME:
        text = _SAME[char]
    elif kind == "<fraction>":
        over, _, under = unicodedata.normalize("NFKD", char).partition("⁄")
        text = f"{over.translate(_RAISED)}⁄{under.translate(_LOWERED)}"
    elif kind and (kind in _KINDS or kind[0] != "<"):
        text = unicodedata.normalize("NFKD", char)
    else:
        return ""
    return text if all(part in face("regular").advances for part in text) else ""


@cache
def _foreign() -> re.Pattern[str]:
    """Runs of characters that the bundled faces lack."""
    return re.compile("[^\n\t" + re.escape("".join(face("regular").advances)) + "]+")
