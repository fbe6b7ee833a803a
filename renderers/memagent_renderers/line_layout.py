"""Words into lines: groups of words that run on in one size, broken greedily by advance widths.

All line breaks are decided here and written into the HTML as preformatted lines of a fixed height. An engine has
nothing left to decide: what was predicted is what is drawn, by every engine alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from memagent_renderers import fonts
from memagent_renderers.budget import TextLine
from memagent_renderers.styled_blocks import HEAVY_TIERS, StyledBlock, Word, line_html, part, plain_word, word_width
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
        if rung.loose or not groups or rung.sizes[groups[-1].tier] != rung.sizes[passage.tier]:
            groups.append(Group(passage.tier, passage.depth if rung.loose else 0))
        elif not closed and not passage.marked:
            groups[-1].close(":" if heading else ";")
        words, widths = passage.words[:count], passage.widths[:count]
        if not rung.loose and not all(words):
            words, widths = [word for word in words if word], [width for width in widths if width]
        groups[-1].add(words, widths, passage.tier)
        closed = passage.closed or count < len(passage.words)
        heading = passage.tier in HEADINGS
        if count < len(passage.words):
            _mark(groups[-1], "…")
    if dropped:
        _append_count(groups, rung, dropped)
    return [group.finish() for group in groups]


def _append_count(groups: list[Group], rung: TypeScale, dropped: int) -> None:
    joins = bool(groups) and not rung.loose
    joins = joins and (groups[-1].tier not in HEAVY_TIERS or rung.sizes[groups[-1].tier] == rung.sizes["small"])
    if not joins:
        groups.append(Group("small"))
    _mark(groups[-1], f"+{dropped}", "more")


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
    widths = limits(rung, width)
    heights = {tier: rung.line(tier) for tier in widths}
    for whole in groups:
        group, limit = whole, widths[whole.tier]
        if group.depth:
            limit -= _indent(rung, group.depth) * fonts.face("regular").units / rung.sizes[group.tier]
        if group.widest > limit:
            group, cut = _split(group, max(1.0, limit))
            setting.shortest_cut = min(setting.shortest_cut or cut, cut)
        breaks = _break(group, limit)
        setting.height += len(breaks) * heights[group.tier]
        setting.groups.append(group)
        setting.breaks.append(breaks)
    return setting


def _split(group: Group, limit: float) -> tuple[Group, int]:
    """The group with its over-wide words cut, and the characters of the shortest word that was cut."""
    out = Group(group.tier, group.depth)
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


def printed(setting: LineLayout, rung: TypeScale) -> tuple[str, tuple[TextLine, ...]]:
    """The HTML of the set blocks, and the lines that stand on the page."""
    blocks: list[str] = []
    lines: list[TextLine] = []
    top = rung.head
    above = ""
    for group, breaks in zip(setting.groups, setting.breaks, strict=True):
        gap = rung.gap(above, group.tier) if above else 0
        size, line = rung.sizes[group.tier], rung.line(group.tier)
        left = _indent(rung, group.depth) if group.depth else 0
        rules = f"font-size:{size:g}px;line-height:{line}px;height:{line * len(breaks)}px"
        rules += f";margin-top:{gap}px" if gap else ""
        rules += f";margin-left:{left}px" if left else ""
        text = "\n".join(line_html(group.words[begin:end]) for begin, end in breaks)
        blocks.append(f'<div class="block" style="{rules}">{text}</div>')
        top, above = top + gap, group.tier
        for begin, end in breaks:
            lines.append(_line(group, begin, end, size, rung.margin + left, top, line))
            top += line
    return "".join(blocks), tuple(lines)


def _line(group: Group, begin: int, end: int, size: float, left: int, top: int, height: int) -> TextLine:
    words = group.words[begin:end]
    wide = sum(group.widths[begin:end]) + _SPACE * max(0, len(words) - 1)
    return TextLine(
        tuple(["".join([piece for piece, _ in word]) for word in words]),
        tuple(group.tiers[begin:end]),
        tuple([word[0][1].face if word else "regular" for word in words]),
        size,
        (left, top, left + wide * size / fonts.face("regular").units, top + height),
    )
