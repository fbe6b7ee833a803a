"""Typefaces: bytes for the engines, advance widths for the layout, coverage for honest reports.

Three static faces of "Memagent Condensed", a subset of Roboto Condensed (README.md in this folder says how it was
made), are bundled. They carry no kerning and no ligatures, so the width of a line is the sum of its characters'
advance widths. Those, and the set of characters that can be drawn, are read straight from the font's tables: no font
library is needed to lay a page out. A character that they lack is, in this order,

1. written with others that mean the same (`stand_in`), so that these pages are alike on every machine,
2. drawn by a fallback font of the machine (`fallback`),
3. shown as one "�" for each run of such characters, and reported.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache, lru_cache

from memagent_renderers.fonts import fallback
from memagent_renderers.fonts.faces import UNKNOWN, Face, all_faces, face

__all__ = ["DIGEST", "FAMILY", "UNKNOWN", "Face", "all_faces", "face", "fallback", "mark", "stand_in", "substitute", "width"]

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
_RAISED, _LOWERED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"), str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def substitute(text: str) -> tuple[str, set[str]]:
    """`text` as it can be drawn, and the set of characters that cannot be: "�" stands for each run of those."""
    missing: set[str] = set()

    def shown(run: re.Match[str]) -> str:
        parts: list[str] = []
        for char in run[0]:
            part = stand_in(char) or (char if fallback.face_of(char) else UNKNOWN)
            if part is UNKNOWN:
                missing.add(char)
            if part is not UNKNOWN or parts[-1:] != [UNKNOWN]:
                parts.append(part)
        return "".join(parts)

    return _foreign().sub(shown, text), missing


def width(name: str, text: str) -> int:
    """Advance width of `text`, which `substitute` has seen, in units of the bundled face `name`."""
    advances = face(name).advances
    try:
        return sum([advances[char] for char in text])
    except KeyError:
        return sum(_advance(face(name), char) for char in text)


def mark(html: str) -> str:
    """`html` with tags around the characters that a fallback draws. For text and tags of our own, which are ASCII."""
    return html if html.isascii() else _foreign().sub(lambda run: fallback.mark(run[0]), html)


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


def _advance(own: Face, char: str) -> int:
    if char in own.advances:
        return own.advances[char]
    other = fallback.face_of(char)
    return math.ceil(other.advances[char] * own.units / other.units) if other else own.advances[UNKNOWN]


@cache
def _foreign() -> re.Pattern[str]:
    """Runs of characters that the bundled faces lack."""
    return re.compile("[^\n\t" + re.escape("".join(face("regular").advances)) + "]+")
