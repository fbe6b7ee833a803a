"""Text that is more than one glyph a character, left to right: shaped by HarfBuzz, ordered by the Unicode rules.

Joined and stacked scripts (Arabic, the Indic ones), sequences of emoji, marks on letters, and whatever runs from right to
left go through here; everything else is the plain sum of advance widths. Tried instead: Skia's own paragraphs
(`skia.textlayout`), which shape and order alike, but hint their glyphs, know neither backgrounds nor a base direction, and
cannot be asked where a word ends.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from memagent_renderers.fonts import fallback
from memagent_renderers.fonts.faces import Face, face

RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
_LETTER = re.compile(r"[^\W\d_]")
_FEATURES = {"kern": False}  # as in the bundled faces and in Chromium's pages: the width of a line is the sum of its words'
_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">", "«": "»", "‹": "›", "（": "）", "「": "」", "⟨": "⟩"}


class Shaped(NamedTuple):
    """Glyphs of a run in visual order, in font units of its face."""

    glyphs: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    """x to the right and y upwards of each glyph, from the start of the run at the baseline."""
    advance: int


@lru_cache(maxsize=8192)
def shape(name: str, text: str, rtl: bool = False) -> Shaped:
    """`text`, one run of the face called `name`, as glyphs."""
    import uharfbuzz

    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if rtl else "ltr"
    uharfbuzz.shape(named(name).harfbuzz, buffer, _FEATURES)
    at, places = 0, []
    for position in buffer.glyph_positions:
        places.append((at + position.x_offset, position.y_offset))
        at += position.x_advance
    return Shaped(tuple(info.codepoint for info in buffer.glyph_infos), tuple(places), at)


def named(name: str) -> Face:
    """A bundled face, or one of the machine that this process found before."""
    return fallback.by_name(name) if name.startswith(fallback.FAMILY) else face(name)


def starts_right(text: str) -> bool:
    """Whether the first letter of `text` is of a script that runs from right to left."""
    if not RIGHT_TO_LEFT.search(text):
        return False
    first = _LETTER.search(text)
    return first is not None and RIGHT_TO_LEFT.match(first[0]) is not None


def levels(text: str, *, rtl: bool) -> list[int]:
    """The embedding level of each character of one line, odd for right to left: Unicode annex 9 (revision 48).

    Rules W1 to W7, N0 to N2, I1 and I2. Those for explicit marks are left out, for `document.clean` removes the marks.
    """
    base, around = int(rtl), "R" if rtl else "L"
    kinds = [unicodedata.bidirectional(char) or "L" for char in text]
    before, strong = around, around
    for at in range(len(kinds)):  # W1 to W3
        if kinds[at] in ("NSM", "BN"):
            kinds[at] = before
        if kinds[at] in ("L", "R", "AL"):
            strong = kinds[at]
        elif kinds[at] == "EN" and strong == "AL":
            kinds[at] = "AN"
        before = kinds[at]
    kinds = ["R" if kind == "AL" else kind for kind in kinds]
    _numbers(kinds, around)
    _pair_brackets(text, kinds, around)
    _neutrals(kinds, around)
    raised = {"R": 1 - base, "L": base, "AN": 2 - base, "EN": 2 - base}
    return [base + raised[kind] for kind in kinds]


def _numbers(kinds: list[str], around: str) -> None:
    """W4 to W7: separators and signs inside and beside numbers."""
    for at in range(1, len(kinds) - 1):
        before, kind, after = kinds[at - 1 : at + 2]
        if before == after and ((kind == "CS" and before in ("EN", "AN")) or (kind == "ES" and before == "EN")):
            kinds[at] = before
    for step in (1, -1):
        places = range(len(kinds))[::step]
        for at in places:
            if kinds[at] == "ET" and 0 <= at - step < len(kinds) and kinds[at - step] == "EN":
                kinds[at] = "EN"
    strong = around
    for at, kind in enumerate(kinds):
        if kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[at] = "L"
        elif kind not in ("EN", "AN"):
            kinds[at] = "ON"


def _direction(kind: str) -> str:
    """ "L" or "R" of what has a direction, numbers count as "R"; "" for the rest."""
    return "L" if kind == "L" else "R" if kind in ("R", "EN", "AN") else ""


def _pair_brackets(text: str, kinds: list[str], around: str) -> None:
    """N0: both brackets of a pair go the way of what they hold."""
    stack: list[int] = []
    pairs: list[tuple[int, int]] = []
    for at, char in enumerate(text):
        if kinds[at] != "ON":
            continue
        if char in _BRACKETS:
            stack.append(at)
        else:
            for depth in range(len(stack) - 1, max(-1, len(stack) - 64), -1):
                if _BRACKETS[text[stack[depth]]] == char:
                    pairs.append((stack[depth], at))
                    del stack[depth:]
                    break
    for start, end in sorted(pairs):
        inside = {_direction(kind) for kind in kinds[start + 1 : end]} - {""}
        if not inside:
            continue
        before = next((found for kind in kinds[:start][::-1] if (found := _direction(kind))), around)
        kinds[start] = kinds[end] = around if around in inside or before == around else before


def _neutrals(kinds: list[str], around: str) -> None:
    """N1 and N2: what has no direction goes with both neighbours, or with the line."""
    at = 0
    while at < len(kinds):
        end = at
        while end < len(kinds) and not _direction(kinds[end]):
            end += 1
        if end > at:
            before = _direction(kinds[at - 1]) if at else around
            after = _direction(kinds[end]) if end < len(kinds) else around
            kinds[at:end] = [before if before == after else around] * (end - at)
        at = end + 1


def visual(levels_of_runs: list[int]) -> list[int]:
    """The order, left to right, of runs with these levels (rule L2)."""
    order = list(range(len(levels_of_runs)))
    for level in range(max(levels_of_runs, default=0), 0, -1):
        at = 0
        while at < len(order):
            end = at
            while end < len(order) and levels_of_runs[order[end]] >= level:
                end += 1
            if end > at:
                order[at:end] = order[at:end][::-1]
            at = end + 1
    return order
