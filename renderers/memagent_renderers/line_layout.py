"""Words into lines: groups of words that run on in one size, broken greedily by advance widths.

All line breaks and places are decided here. An engine has nothing left to decide: what was predicted is what is drawn, by
every engine alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from memagent_renderers import fonts
from memagent_renderers.budget import TextLine
from memagent_renderers.fonts import shaping
from memagent_renderers.styled_blocks import HEAVY_TIERS, StyledBlock, Word, part, plain_word, word_width
from memagent_renderers.styles import PLAIN, Style
from memagent_renderers.type_scale import TypeScale

HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_SPACE = max(fonts.face("regular").advances[" "], fonts.face("bold").advances[" "])


@dataclass
class Group:
    """Words that run on in one type size."""

    tier: str
    """The tier whose size they have."""
    depth: int = 0
    words: list[Word] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    tiers: list[str] = field(default_factory=list)
    """The tier of each word; "" for marks that layout added."""
    rtl: bool = False
    """Its lines run from right to left."""
    widest: int = 0
    """Width of its widest word in font units; known, as the rest, once it is finished."""
    starts: list[int] = field(default_factory=list)
    """Where each word would start, in font units, if all stood on one line; and where the next one would."""
    stops: list[int] = field(default_factory=list)
    """Indices of the empty words, which end a line, and of the end."""

    def add(self, words: Sequence[Word], widths: Sequence[int], tier: str) -> None:
        """Append words of one tier."""
        self.words += words
        self.widths += widths
        self.tiers += [tier] * len(words)

    def close(self, mark: str) -> None:
        """Sets a mark after the last word, so that what runs on is not taken for the same sentence.

        It touches the word: a mark that stands alone is often read into its neighbour by OCR.
        """
        word = self.words[-1]
        self.words[-1] = (*word, (mark, word[-1][1]))
        self.widths[-1] = word_width(self.words[-1])

    def finish(self) -> Group:
        """The group, whole now, with what breaking it into lines of many widths and sizes needs worked out once."""
        self.widest = max(self.widths, default=0)
        self.starts = list(accumulate([width + _SPACE for width in self.widths], initial=0))
        empty = [] if all(self.words) else [index for index, word in enumerate(self.words) if not word]
        self.stops = [*empty, len(self.words)]
        return self


@dataclass
class LineLayout:
    """Groups broken into lines for one page width."""

    groups: list[Group]
    breaks: list[list[tuple[int, int]]]
    """For each group: first word and end of each of its lines."""
    height: int
    """Height in px of lines and gaps, margins included."""
    shortest_cut: int
    """Characters of the shortest word that had to be cut; 0 when none was."""


def compose(shown: Sequence[tuple[StyledBlock, int]], rung: TypeScale, dropped: int) -> list[Group]:
    """Groups of words in document order; each passage with the number of its words that are shown.

    Dense text of one size runs on across blocks and tiers. `dropped` blocks are counted at the end.
    """
    groups: list[Group] = []
    closed, heading = True, False
    for passage, count in shown:
        if not count:
            continue
        last = groups[-1] if groups else None
        if rung.loose or not last or last.rtl != passage.rtl or rung.sizes[last.tier] != rung.sizes[passage.tier]:
            groups.append(Group(passage.tier, passage.depth if rung.loose else 0, rtl=passage.rtl))
        elif not closed and not passage.marked:
            groups[-1].close(":" if heading else ";")
        words, widths = passage.words[:count], passage.widths[:count]
        if not rung.loose and not all(words):
            words, widths = [word for word in words if word], [width for word, width in zip(words, widths, strict=True) if word]
        groups[-1].add(words, widths, passage.tier)
        closed = passage.closed or count < len(passage.words)
        heading = passage.tier in HEADINGS
        if count < len(passage.words):
            _mark(groups[-1], "…")
    if dropped:
        joins = bool(groups) and not rung.loose
        if not joins or (groups[-1].tier in HEAVY_TIERS and rung.sizes[groups[-1].tier] != rung.sizes["small"]):
            groups.append(Group("small"))
        _mark(groups[-1], f"+{dropped}", "more")
    return [group.finish() for group in groups]


def _mark(group: Group, *texts: str) -> None:
    words = [plain_word(text) for text in texts]
    group.add(words, [word_width(word) for word in words], "")


def limits(rung: TypeScale, width: int) -> dict[str, float]:
    """Widest line of each tier, in font units, on a page of `width` px."""
    inside = max(1.0, width - 2.0 * rung.margin) * fonts.face("regular").units
    return {tier: inside / size for tier, size in rung.sizes.items()}


def _indent(rung: TypeScale, depth: int) -> int:
    return round(min(depth, 6) * rung.sizes["body"])


def set_lines(groups: Sequence[Group], rung: TypeScale, width: int) -> LineLayout:
    """Breaks every group into lines for a page of `width` px."""
    gaps = sum(rung.gap(above.tier, below.tier) for above, below in pairwise(groups)) if rung.loose else 0
    setting = LineLayout([], [], 2 * rung.head + gaps, 0)
    units, heights = fonts.face("regular").units, rung.heights
    for whole in groups:
        group, size = whole, rung.sizes[whole.tier]
        inside = width - 2 * rung.margin - (_indent(rung, group.depth) if group.depth else 0)
        limit = max(1.0, inside) * units / size
        if group.widest > limit:
            group, cut = _split(group, limit)
            setting.shortest_cut = min(setting.shortest_cut or cut, cut)
        breaks = _break(group, limit)
        setting.height += len(breaks) * heights[group.tier]
        setting.groups.append(group)
        setting.breaks.append(breaks)
    return setting


def _split(group: Group, limit: float) -> tuple[Group, int]:
    """The group with its over-wide words cut, and the characters of the shortest word that was cut."""
    out = Group(group.tier, group.depth, rtl=group.rtl)
    parted, shortest = part(group.words, group.widths, limit)
    for pieces, tier in zip(parted, group.tiers, strict=True):
        out.add(pieces, [word_width(piece) for piece in pieces], tier)
    return out.finish(), shortest


def _break(group: Group, limit: float) -> list[tuple[int, int]]:
    """First word and end of greedy lines of at most `limit` font units; an empty word ends a line."""
    lines: list[tuple[int, int]] = []
    starts, first = group.starts, 0
    for stop in group.stops:
        while True:
            end = bisect_right(starts, starts[first] + limit + _SPACE, first + 1, stop + 1) - 1
            if end <= first:
                end = first + 1 if first < stop else stop
            lines.append((first, end))
            first = end
            if end == stop:
                break
        first = stop + 1
    return lines


class Span(NamedTuple):
    """A stretch of a line that an engine paints in one go: one style, one face, one direction."""

    text: str
    style: Style
    face: str
    """Name of the face, bundled or a fallback (`fonts.named`)."""
    size: float
    """Type size in px."""
    left: float
    """Where it begins on the page, in px, as the rest."""
    width: float
    top: int
    """Top of its line."""
    height: int
    """Height of its line."""
    rtl: bool = False
    """Its characters run from right to left."""


def place(
    setting: LineLayout, rung: TypeScale, width: int, *, left: int = 0, top: int = 0
) -> tuple[tuple[TextLine, ...], tuple[Span, ...]]:
    """The lines in a column of `width` px, whose corner is `left`, `top`, and what is painted for them."""
    lines: list[TextLine] = []
    painted: list[Span] = []
    top, above = top + rung.head, ""
    units = fonts.face("regular").units
    for group, breaks in zip(setting.groups, setting.breaks, strict=True):
        top += rung.gap(above, group.tier) if above else 0
        above = group.tier
        size, height = rung.sizes[group.tier], rung.heights[group.tier]
        indent = _indent(rung, group.depth) if group.depth else 0
        for begin, end in breaks:
            words = group.words[begin:end]
            wide = (sum(group.widths[begin:end]) + _SPACE * max(0, end - begin - 1)) * size / units
            start = left + (rung.margin + indent if not group.rtl else max(1.0, width - rung.margin - indent - wide))
            painted += _spans(words, size, (float(start), top, height), rtl=group.rtl)
            lines.append(
                TextLine(
                    tuple([word[0][0] if len(word) == 1 else "".join([text for text, _ in word]) for word in words]),
                    tuple(group.tiers[begin:end]),
                    tuple([word[0][1].face if word else "regular" for word in words]),
                    size,
                    (float(start), top, start + wide, top + height),
                )
            )
            top += height
    return tuple(lines), tuple(painted)


def _spans(words: Sequence[Word], size: float, at: tuple[float, int, int], *, rtl: bool) -> list[Span]:
    """A line of words, a blank between two, as spans; `at` is where it begins, its top and its height."""
    pieces: list[tuple[list[str], Style]] = []
    texts: list[str] = []
    current: Style | None = None
    for word in words:
        for index, (text, style) in enumerate(word):
            if style is current or style == current:
                if index:
                    texts[-1] += text
                else:
                    texts.append(text)
                continue
            if current and not index:
                pieces.append(([" "], PLAIN))
            texts, current = [text], style
            pieces.append((texts, style))
    runs = [(" ".join(texts), style) for texts, style in pieces]
    left, top, height = at
    spans: list[Span] = []
    scale = size / fonts.face("regular").units
    if not rtl and all(fonts.is_plain(text) for text, _ in runs):
        for text, style in runs:
            wide = fonts.face(style.face).width(text) * scale
            spans.append(Span(text, style, style.face, size, left, wide, top, height))
            left += wide
        return spans
    for text, style, name, backwards in _ordered(runs, rtl=rtl):
        wide = fonts.run_width(name, text, rtl=backwards) * scale
        spans.append(Span(text, style, name, size, left, wide, top, height, backwards))
        left += wide
    return spans


def _ordered(runs: Sequence[tuple[str, Style]], *, rtl: bool) -> list[tuple[str, Style, str, bool]]:
    """Text cut where its face or direction changes, in the order in which it is seen: text, style, face, backwards."""
    whole = "".join(text for text, _ in runs)
    levels = shaping.levels(whole, rtl=rtl) if rtl or shaping.RIGHT_TO_LEFT.search(whole) else [0] * len(whole)
    found: list[tuple[str, Style, str, int]] = []
    at = 0
    for text, style in runs:
        for name, run in fonts.runs(style.face, text):
            for level, group in groupby(zip(run, levels[at:], strict=False), key=lambda pair: pair[1]):
                found.append(("".join(char for char, _ in group), style, name, level))
            at += len(run)
    order = shaping.visual([level for *_, level in found])
    return [(text, style, name, bool(level % 2)) for text, style, name, level in map(found.__getitem__, order)]
