"""Blocks cut into words with known widths: what the layout adds up and breaks into lines.

A word is a tuple of (text, style) pieces, because emphasis may begin inside it; its width is the sum of its
characters' advances in font units, whatever the type size. Characters that no face has are replaced here, before
anything is measured, and reported. Chinese and Japanese have no blanks: `split_long` finds the line ends of such text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, pairwise

from memagent_renderers import fonts
from memagent_renderers.document import TIERS, Block
from memagent_renderers.fonts.shaping import starts_right
from memagent_renderers.styles import PLAIN, Style

Word = tuple[tuple[str, Style], ...]
BREAK: Word = ()
"""Stands between words where the document asks for a new line."""
BLANK = max(fonts.face("regular").advances[" "], fonts.face("bold").advances[" "])
"""Width of the blank between two words in font units, on the safe side."""
HEAVY_TIERS = frozenset(("h1", "h2", "h3", "bold", "h4", "h5", "h6"))
"""Tiers set in the bold face throughout."""

_INDENT = re.compile(r"(?m)^[ \t]+")
_BLANKS = re.compile(r"[ \t]+")
_DRAWN_ON = (
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0e31\u0e34-\u0e4e"
    "\u200c\ufe0f\U0001f3fb-\U0001f3ff]*"
)
_CLUSTERS = re.compile(f".{_DRAWN_ON}(?:\u200d.{_DRAWN_ON})*", re.DOTALL)
"""A character with the marks and joined signs that are drawn on it: what a cut word is not cut within."""
_SENTENCE_ENDS = ".!?:;,…。！？：；，、"
_IDEOGRAPH = re.compile("[\u2e80-\u312f\u3190-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff9f\U00020000-\U0003ffff]")
"""Chinese and Japanese characters, their punctuation included: a line may end before and after each of them."""
_NEVER_FIRST = frozenset("、。，．・：；？！‼…‥〉》」』】〕〗〙〛）］｝｠’”»›,.:;?!)]}%％‰°ー～〜々〻ヽヾゝゞ"
                         "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ､｡･｣ｰ")  # fmt: skip
_NEVER_LAST = frozenset("〈《「『【〔〖〘〚（［｛｟‘“«‹([{｢$£€￥＄￡#＃")


@dataclass(frozen=True)
class StyledBlock:
    """One block, ready to be set."""

    tier: str
    words: Sequence[Word]
    widths: Sequence[int]
    """Advance width of each word in font units; 0 for `BREAK`."""
    depth: int
    marked: bool
    """It begins with a bullet, number or quote mark."""
    rtl: bool = False
    """It runs from right to left."""

    @property
    def rank(self) -> int:
        """0 for the most important tier."""
        return TIERS.index(self.tier)

    @property
    def closed(self) -> bool:
        """Its text ends like a sentence, so that other text may follow on the same line."""
        return bool(self.words) and bool(self.words[-1]) and self.words[-1][-1][0][-1:] in _SENTENCE_ENDS


@lru_cache(maxsize=16384)
def width_of(face: str, text: str) -> int:
    """Advance width of a piece of a word in font units."""
    return fonts.width(face, text)


def word_width(word: Sequence[tuple[str, Style]]) -> int:
    """Advance width of a word in font units."""
    return sum([width_of(style.face, text) for text, style in word])


def plain_word(text: str) -> Word:
    """A word in the theme's own style."""
    return ((text, PLAIN),)


def prepare(blocks: Iterable[Block]) -> tuple[list[StyledBlock], set[str]]:
    """A passage for each block, and the characters of the document that cannot be drawn."""
    missing: set[str] = set()
    return [_passage(block, missing) for block in blocks], missing


def _passage(block: Block, missing: set[str]) -> StyledBlock:
    words: list[Word] = []
    widths: list[int] = []
    marker = "–" if block.marker == "•" and block.depth % 2 else block.marker
    if marker:
        words.append(plain_word(marker))
        widths.append(word_width(words[0]))
    heavy = block.tier in HEAVY_TIERS
    open_word: list[tuple[str, Style]] = []

    def end_word() -> None:
        if open_word:
            words.append(tuple(open_word))
            widths.append(word_width(open_word))
            open_word.clear()

    for run in block.runs:
        text = run.text
        if not text.isascii() or block.kind == "code":
            if block.kind == "code":  # leading blanks as no-break spaces, sixteen at most
                text = _INDENT.sub(lambda blanks: "\u00a0" * min(16, len(blanks[0].expandtabs(4))), text)
            text, unknown = fonts.substitute(text)
            missing |= unknown
        style = _set_style(run.style, heavy)
        face = style.face
        for number, line in enumerate(text.split("\n")):
            if number:
                end_word()
                words.append(BREAK)
                widths.append(0)
            first, *middle = _BLANKS.split(line) if "\t" in line or "  " in line else line.split(" ")
            if first:
                open_word.append((first, style))
            if not middle:
                continue
            end_word()
            last = middle.pop()
            words += [((part, style),) for part in middle]
            widths += [width_of(face, part) for part in middle]
            if last:
                open_word.append((last, style))
    end_word()
    while words and not words[-1]:
        words.pop()
        widths.pop()
    return StyledBlock(block.tier, words, widths, block.depth, bool(marker), starts_right(block.text))


@lru_cache(maxsize=1024)
def _set_style(style: Style, heavy: bool) -> Style:
    """The style in which text is set: bold throughout in heavy tiers, in the size of its tier."""
    return replace(style, bold=style.bold or heavy, size=None)


def split_long(words: Sequence[Word], widths: Sequence[int], limit: float) -> tuple[list[Word], list[int], int]:
    """Words cut so that none is wider than `limit` font units, their widths, and the shortest cut word's length.

    The length is in characters, 0 when nothing was cut. Chinese and Japanese text does not count as cut.
    """
    parted, shortest = part(words, widths, limit)
    out = [piece for pieces in parted for piece in pieces]
    return out, [word_width(piece) for piece in out], shortest


def part(words: Sequence[Word], widths: Sequence[int], limit: float) -> tuple[list[list[Word]], int]:
    """The pieces of each word, none wider than `limit` font units, and the length of the shortest word that was cut.

    Chinese and Japanese text, which arrives as very long words, does not count as cut: it is parted where lines of
    `limit` units, filled with these words one after the other, end.
    """
    out: list[list[Word]] = []
    shortest = 0
    used = 0  # width of the line so far
    for word, width in zip(words, widths, strict=True):
        room = limit - used - BLANK if used else limit
        pieces, cut = [word], 0
        if word and width > room and any(not text.isascii() and _IDEOGRAPH.search(text) for text, _ in word):
            pieces, cut = _flow(word, room, limit)
        elif width > limit:
            pieces, cut = _cut(word, limit), _length(word)
        shortest = min(shortest or cut, cut or shortest)
        for piece in pieces:
            wide = word_width(piece)
            used = used + BLANK + wide if used and wide and used + BLANK + wide <= limit else wide
        out.append(pieces)
    return out, shortest


def _length(word: Word) -> int:
    return sum(len(text) for text, _ in word)


def _flow(word: Word, room: float, limit: float) -> tuple[list[Word], int]:
    """A word that may end a line at many places, parted so that the first piece fills `room`, the others `limit`.

    Also the length of the shortest unbreakable unit that had to be cut, 0 when none had to.
    """
    pieces: list[list[tuple[str, Style]]] = [[]]
    used = shortest = 0
    for unit, width in _units(word):
        if width > limit:
            shortest = min(shortest or _length(unit), _length(unit))
        for part in [unit] if width <= limit else _cut(unit, limit):
            wide = word_width(part)
            if used + wide > room:
                if used:
                    pieces.append([])
                used, room = 0, limit
            pieces[-1] += part
            used += wide
    return [_merge(piece) for piece in pieces], shortest


@lru_cache(maxsize=1024)
def _units(word: Word) -> tuple[tuple[Word, int], ...]:
    """The parts of a word between which a line may end, with their widths."""
    characters = [(char, style) for text, style in word for char in text]
    units = [characters[:1]]
    for (before, _), (char, style) in pairwise(characters):
        ideographs = _IDEOGRAPH.match(before) or _IDEOGRAPH.match(char)
        if ideographs and char not in _NEVER_FIRST and before not in _NEVER_LAST:
            units.append([])
        units[-1].append((char, style))
    return tuple((unit, word_width(unit)) for unit in map(_merge, units))


def _cut(word: Word, limit: float) -> list[Word]:
    """Pieces of a word, each at most `limit` wide unless a single character is wider."""
    pieces: list[list[tuple[str, Style]]] = [[]]
    used = 0
    for text, style in word:
        for cluster in [*text] if text.isascii() else _CLUSTERS.findall(text):
            width = width_of(style.face, cluster)
            if pieces[-1] and used + width > limit:
                pieces.append([])
                used = 0
            pieces[-1].append((cluster, style))
            used += width
    return [_merge(piece) for piece in pieces]


def _merge(pieces: Iterable[tuple[str, Style]]) -> Word:
    return tuple(("".join(text for text, _ in group), style) for style, group in groupby(pieces, lambda p: p[1]))
