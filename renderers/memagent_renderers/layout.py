"""Lays a document out for a budget: picks page shape and type sizes so that as much as possible can be read.

The document is not shrunk to the budget, it is set for it. `memagent_renderers.type_scale` solves which sizes the tiers get as
room runs out; the largest set of sizes on which everything fits wins, on the smallest near-square page that holds it, so
that a short memory costs less than its budget. When even the densest setting cannot hold the document, words are
placed by importance (tier, then order of writing) until the page is full, and the page ends with a count of the blocks
that are not on it, or not whole ("+3 more"). Pages have one column: a second one costs line ends, and eyes that read
line by line mix the two (measured: 5 to 11 % fewer characters on the same page).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from memagent_renderers import fonts
from memagent_renderers.budget import Budget, TextLine, estimate_tokens, tokens_for
from memagent_renderers.document import TIERS, parse
from memagent_renderers.legibility_curve import LegibilityCurve
from memagent_renderers.line_layout import Group, LineLayout, Span, compose, limits, place, set_lines
from memagent_renderers.pricing import PAGE_ASPECT, ImagePricing
from memagent_renderers.styled_blocks import StyledBlock, prepare, split_long
from memagent_renderers.type_scale import TypeScale, overfull, type_scales

WHOLE_WORD = 20
"""Words of up to this many characters are never cut while a smaller size is left to try."""
FILLED = {True: 0.6, False: 0.8}
"""About the share of a full page, loose or not, that words themselves cover; searches begin there."""
SMALL = 8
"""Steps of width up to which a page is so small that each one counts."""


@dataclass(frozen=True)
class Page:
    """A laid-out page, not yet drawn."""

    width: int
    height: int
    sizes: dict[str, float]
    """Type size in px of each tier that is on the page."""
    dropped: int = 0
    """Blocks that are not on the page, or not whole."""
    missing: tuple[str, ...] = ()
    """Characters of the document that no font here can draw; the page shows "�" for each run of them."""
    unreadable: tuple[str, ...] = ()
    """Scripts of the document that the reader cannot read whatever their size."""
    lines: tuple[TextLine, ...] = ()
    """What stands on the page, top to bottom."""
    spans: tuple[Span, ...] = field(default=(), repr=False)
    """What an engine paints, line by line and from left to right."""


def fit(markdown: str, budget: Budget) -> Page:
    """The page that shows most of `markdown` within `budget`. Same input, same page, on every machine.

    The last few pages are kept: who draws a page also asks what stands on it.

    Raises `BudgetError` when the budget is below what the reader charges for any picture.
    """
    # how the reader counts text plays no part, and would keep its model alive here
    return _fit(markdown, replace(budget, reader=replace(budget.reader, count=estimate_tokens)))


@lru_cache(maxsize=4)
def _fit(markdown: str, budget: Budget) -> Page:
    tokens = tokens_for(budget)
    passages, missing = prepare(parse(markdown))
    page = _Whole(passages, tokens, budget.reader.pricing).page(budget.reader.legibility)
    if page is None:
        page = fill(passages, overfull(budget.reader.legibility), *budget.reader.pricing.largest(tokens))
    drawn = markdown.translate(dict.fromkeys(map(ord, missing))) if missing else markdown
    unreadable = budget.reader.legibility.unreadable(drawn)
    return replace(page, missing=tuple(sorted(missing)), unreadable=tuple(sorted(unreadable)))


# -- everything fits --------------------------------------------------------------------------------------------------


class _Whole:
    """A search for the page with everything on it, in the largest sizes for which one within the budget exists."""

    def __init__(self, passages: Sequence[StyledBlock], tokens: int, pricing: ImagePricing) -> None:
        self.passages = passages
        self.tokens = tokens
        self.pricing = pricing
        self.largest = pricing.largest(tokens)
        self.least = math.prod(pricing.largest(pricing.floor))
        """Area in px that the cheapest picture may as well have."""
        self.short, self.long = sorted(pricing.largest(pricing.ceiling))
        """Sides in px up to which the reader takes a page in without shrinking it."""
        self.spans: dict[str, int] = {}
        """Width of all words of each tier together, in font units."""
        for passage in passages:
            self.spans[passage.tier] = self.spans.get(passage.tier, 0) + sum(passage.widths)
        self.composed: dict[object, list[Group]] = {}
        self.set: dict[tuple[int, int], LineLayout] = {}
        """What was set before, by the identity of the sizes and the width."""

    def page(self, legibility: LegibilityCurve) -> Page | None:
        """The page; None when there is none."""
        loose, dense = (type_scales(legibility, loose=loose) for loose in (True, False))
        return self._among(loose) or self._among(dense, last=True)

    def _among(self, rungs: Sequence[TypeScale], *, last: bool = False) -> Page | None:
        """The page in the largest of these sizes for which there is one; on the smallest words may be cut if `last`."""
        if self._fits(rungs[-1]):
            return self._best(rungs[-1])
        if not self._fits(rungs[0], last=last):
            return None

        def used(place: int) -> float:
            share = self._lines(rungs[place], self.largest[0]).height / self.largest[1]
            return min(share, 1.0) if self._fits(rungs[place]) else max(share, 1.001)

        areas = _Lazy(lambda place: self._area(rungs[place]), len(rungs) - 1)
        tried, filled = self.set.get((id(rungs[-1]), self.largest[0])), FILLED[rungs[0].loose]
        if tried:
            filled = self._area(rungs[-1]) / (self.largest[0] * tried.height)
        place = _largest(used, areas, math.prod(self.largest), filled)
        return self._best(rungs[place], last=last and place == 0)

    def _fits(self, rung: TypeScale, *, last: bool = False) -> bool:
        """Whether a page holds everything; of large pages only the likeliest width and the largest are tried."""
        return next(self._pages(rung, last, every=False), None) is not None

    def _best(self, rung: TypeScale, *, last: bool = False) -> Page:
        """The cheapest page; a slightly dearer one wins when it is closer to a square."""

        def rank(page: tuple[int, int, LineLayout]) -> float:
            width, height, _ = page
            return self.pricing.cost(width, height) * (0.9 + 0.1 * max(width, height) / min(width, height))

        width, height, setting = min(self._pages(rung, last), key=rank)
        return _page(setting, rung, width, height, 0)

    def _pages(self, rung: TypeScale, last: bool, *, every: bool = True) -> Iterator[tuple[int, int, LineLayout]]:
        """Width, height and lines of near-square pages within the budget that hold everything, the likeliest first."""
        pricing, needed = self.pricing, self._area(rung)
        if needed > math.prod(self.largest):
            return
        least, widest = self.least, self.largest[0]
        middle = math.ceil(math.sqrt(1.1 * max(needed, least)) / pricing.step)
        widths = (middle, widest // pricing.step, middle + 1, max(1, middle - 1))
        for columns in dict.fromkeys(widths if every or middle <= SMALL else widths[:2]):
            width = columns * pricing.step
            setting = self._lines(rung, width)
            height = math.ceil(max(setting.height, least / width) / pricing.step) * pricing.step
            if 0 < setting.shortest_cut <= WHOLE_WORD and not last:
                continue
            if max(width, height) > PAGE_ASPECT * min(width, height) and width * height > 2 * least:
                continue
            if max(width, height) > self.long or min(width, height) > self.short:
                continue
            if pricing.cost(width, height) <= self.tokens:
                yield width, height, setting

    def _lines(self, rung: TypeScale, width: int) -> LineLayout:
        key = id(rung), width
        if key not in self.set:
            sizes = list(rung.sizes.values())
            # sizes in which text runs on in the same places share the groups; loose text never runs on
            places = rung.loose or tuple(map(sizes.index, sizes))
            if places not in self.composed:
                self.composed[places] = compose([(passage, len(passage.words)) for passage in self.passages], rung, 0)
            self.set[key] = set_lines(self.composed[places], rung, width)
        return self.set[key]

    def _area(self, rung: TypeScale) -> float:
        """Area in px that the words themselves take, blanks and line ends left out: a lower bound."""
        areas = rung.areas
        return sum([span * areas[tier] for tier, span in self.spans.items()]) / fonts.face("regular").units


# -- not everything fits ----------------------------------------------------------------------------------------------


def fill(passages: Sequence[StyledBlock], rung: TypeScale, width: int, height: int) -> Page:
    """The most important words that fill the page, and the count of blocks that are not whole on it."""
    widest = limits(rung, width)
    cut = [*passages]
    for index, passage in enumerate(passages):
        if max(passage.widths, default=0) > widest[passage.tier]:
            words, widths, _ = split_long(passage.words, passage.widths, widest[passage.tier])
            cut[index] = replace(passage, words=words, widths=widths)
    order = sorted(range(len(cut)), key=lambda index: (cut[index].rank, index))

    def setting(count: int) -> tuple[LineLayout, int]:
        shown, left = {}, count
        for index in order:
            shown[index] = min(left, len(cut[index].words))
            left -= shown[index]
        pairs = [(passage, shown[index]) for index, passage in enumerate(cut)]
        dropped = sum(number < len(passage.words) for passage, number in pairs)
        return set_lines(compose(pairs, rung, dropped), rung, width), dropped

    units, area = fonts.face("regular").units, 0.0
    areas = [0.0]  # that the most important words take, by their number; blanks and line ends left out: lower bounds
    for index in order:
        scale = rung.areas[cut[index].tier] / units
        for wide in cut[index].widths:
            area += wide * scale
            areas.append(area)
    count = _largest(lambda number: setting(number)[0].height / height, areas, width * height, FILLED[False])
    best, dropped = setting(count)
    return _page(best, rung, width, height, dropped)


@dataclass(frozen=True)
class _Lazy(Sequence[float]):
    """Numbers that are worked out when they are looked at."""

    number: Callable[[int], float]
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> float:  # type: ignore[override]
        return self.number(place)


def _largest(used: Callable[[int], float], areas: Sequence[float], room: float, filled: float) -> int:
    """The largest place from 0 on at which at most 1 of a page of `room` px is used; 0 is taken on trust.

    `areas` are rising lower bounds of the px that each place takes. They give the next place to try once it is known which
    share of a page they fill, `filled` at first; a search that goes on for long halves what is left.
    """
    low, high = 0, max(0, bisect_right(areas, room) - 1)
    turn = 0
    while low < high:
        turn += 1
        guess = bisect_right(areas, filled * room, low + 1, high + 1) - 1 if turn < 6 else (low + high + 1) // 2
        place = max(guess, low + 1)
        share = used(place)
        low, high = (place, high) if share <= 1 else (low, place - 1)
        filled = areas[place] / room / max(share, 0.01)
    return low


# -- the page ---------------------------------------------------------------------------------------------------------


def _page(setting: LineLayout, rung: TypeScale, width: int, height: int, dropped: int) -> Page:
    lines, spans = place(setting, rung, width)
    present = {tier for group in setting.groups for tier in group.tiers}
    sizes = {tier: rung.sizes[tier] for tier in TIERS if tier in present}
    return Page(width, height, sizes, dropped, lines=lines, spans=spans)
