"""Lays a document out for a budget: picks page shape and type sizes so that as much as possible can be read.

The document is not shrunk to the budget, it is set for it. `renderers.sizing` solves which sizes the tiers get as room
runs out; the largest set of sizes on which everything fits wins, on the smallest near-square page that holds it, so
that a short memory costs less than its budget. When even the densest setting cannot hold the document, words are
placed by importance (tier, then order of writing) until the page is full, and the page ends with a count of the blocks
that are not on it, or not whole ("+3 more"). Pages have one column: a second one costs line ends, and eyes that read
line by line mix the two (measured: 5 to 11 % fewer characters on the same page).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from renderers import fonts
from renderers.budget import tokens_for
from renderers.passages import Passage, prepare, split_long
from renderers.pricing import PAGE_ASPECT, ImagePricing
from renderers.reader import Budget, Line, estimate_tokens
from renderers.richtext import TIERS, parse
from renderers.sizing import Rung, ladder, overfull
from renderers.themes import stylesheet
from renderers.typesetting import Setting, compose, limits, printed, set_lines

WHOLE_WORD = 20
"""Words of up to this many characters are never cut while a smaller size is left to try."""
FILLED = 0.8
"""About the share of a full page that words themselves cover; blanks and line ends are the rest."""


@dataclass(frozen=True)
class Page:
    """A laid-out page, not yet drawn."""

    html: str = field(repr=False)
    width: int
    height: int
    sizes: dict[str, float]
    """Type size in px of each tier that is on the page."""
    dropped: int = 0
    """Blocks that are not on the page, or not whole."""
    missing: tuple[str, ...] = ()
    """Characters of the document that the bundled faces cannot draw; the page shows "�" for each run of them."""
    unreadable: tuple[str, ...] = ()
    """Scripts of the document that the reader cannot read whatever their size."""
    lines: tuple[Line, ...] = ()
    """What stands on the page, top to bottom."""


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
    page = _whole(passages, tokens, budget)
    if page is None:
        page = fill(passages, overfull(budget.reader.acuity), *budget.reader.pricing.largest(tokens))
    unreadable = budget.reader.acuity.unreadable(markdown)
    return replace(page, missing=tuple(sorted(missing)), unreadable=tuple(sorted(unreadable)))


# -- everything fits --------------------------------------------------------------------------------------------------


def _whole(passages: Sequence[Passage], tokens: int, budget: Budget) -> Page | None:
    """The page with everything on it, in the largest sizes for which one within the budget exists; None if none does."""
    for loose in (True, False):
        rungs = ladder(budget.reader.acuity, loose=loose)
        drafts = [_Draft(passages, rung, budget, last=not loose and place == 0) for place, rung in enumerate(rungs)]
        if drafts[-1].fits(tokens):
            return drafts[-1].page(tokens)
        if drafts[0].fits(tokens):
            return drafts[_largest(lambda place: drafts[place].fits(tokens), len(rungs) - 2)].page(tokens)  # noqa: B023
    return None


@dataclass
class _Draft:
    """Everything on one page, in one set of sizes."""

    passages: Sequence[Passage]
    rung: Rung
    budget: Budget
    last: bool
    """No smaller sizes are left to try: words may be cut."""

    def fits(self, tokens: int) -> bool:
        """Whether a near-square page for at most this many tokens holds everything."""
        return next(self._pages(tokens), None) is not None

    def page(self, tokens: int) -> Page:
        """The cheapest such page; a slightly dearer one wins when it is closer to a square."""
        cost = self.budget.reader.pricing.cost

        def rank(page: tuple[int, int, Setting]) -> float:
            width, height, _ = page
            return cost(width, height) * (0.9 + 0.1 * max(width, height) / min(width, height))

        width, height, setting = min(self._pages(tokens), key=rank)
        return _page(setting, self.rung, width, height, 0)

    def _pages(self, tokens: int) -> Iterator[tuple[int, int, Setting]]:
        """Width, height and lines of pages that hold everything, the likeliest width first."""
        pricing = self.budget.reader.pricing
        needed = _least_area(self.passages, self.rung)
        widest, highest = pricing.largest(tokens)
        if needed > widest * highest:
            return
        groups = compose([(passage, len(passage.words)) for passage in self.passages], self.rung, 0)
        least = math.prod(pricing.largest(pricing.floor))  # what the cheapest picture may as well have
        middle = math.ceil(math.sqrt(1.1 * max(needed, least)) / pricing.step)
        for columns in dict.fromkeys((middle, widest // pricing.step, middle + 1, max(1, middle - 1))):
            width = columns * pricing.step
            setting = set_lines(groups, self.rung, width)
            height = math.ceil(max(setting.height, least / width) / pricing.step) * pricing.step
            if 0 < setting.shortest_cut <= WHOLE_WORD and not self.last:
                continue
            if max(width, height) > PAGE_ASPECT * min(width, height) and width * height > 2 * least:
                continue
            if pricing.cost(width, height) <= tokens and _taken_whole(width, height, pricing):
                yield width, height, setting


def _taken_whole(width: int, height: int, pricing: ImagePricing) -> bool:
    """Whether the reader takes a page of this size in without shrinking it."""
    long, short = pricing.largest(pricing.ceiling)
    return max(width, height) <= max(long, short) and min(width, height) <= min(long, short)


def _least_area(passages: Sequence[Passage], rung: Rung) -> float:
    """Area in px that the words themselves take, blanks and line ends left out: a lower bound."""
    units = fonts.face("regular").units
    return sum(sum(p.widths) * rung.sizes[p.tier] / units * rung.line(p.tier) for p in passages)


# -- not everything fits ----------------------------------------------------------------------------------------------


def fill(passages: Sequence[Passage], rung: Rung, width: int, height: int) -> Page:
    """The most important words that fill the page, and the count of blocks that are not whole on it."""
    widest = limits(rung, width)
    cut = [_cut_passage(passage, widest[passage.tier]) for passage in passages]
    order = sorted(range(len(cut)), key=lambda index: (cut[index].rank, index))

    def setting(count: int) -> tuple[Setting, int]:
        shown, left = {}, count
        for index in order:
            shown[index] = min(left, len(cut[index].words))
            left -= shown[index]
        pairs = [(passage, shown[index]) for index, passage in enumerate(cut)]
        dropped = sum(number < len(passage.words) for passage, number in pairs)
        return set_lines(compose(pairs, rung, dropped), rung, width), dropped

    most = _area_bound([cut[index] for index in order], rung, width * height)
    count = _largest(lambda number: setting(number)[0].height <= height, most, guess=round(FILLED * most))
    best, dropped = setting(count)
    return _page(best, rung, width, height, dropped)


def _cut_passage(passage: Passage, limit: float) -> Passage:
    if max(passage.widths, default=0) <= limit:
        return passage
    words, widths, _ = split_long(passage.words, passage.widths, limit)
    return Passage(passage.tier, words, widths, passage.depth, passage.marked)


def _area_bound(ordered: Sequence[Passage], rung: Rung, area: float) -> int:
    """How many words, in the order given, could at most stand on a page of `area` px."""
    units = fonts.face("regular").units
    count = 0
    for passage in ordered:
        scale = rung.sizes[passage.tier] / units * rung.line(passage.tier)
        for width in passage.widths:
            area -= width * scale
            if area < 0:
                return count
            count += 1
    return count


def _largest(fits: Callable[[int], bool], most: int, *, guess: int | None = None) -> int:
    """The largest count from 0 to `most` that fits, for a condition that once false stays so (0 is taken on trust).

    The search begins at `guess` and in steps of a sixteenth of it; without one it halves the range.
    """
    low, high = 0, most
    if guess:
        step = max(1, guess // 16)
        if fits(guess):
            low = guess
            while low + step < high and fits(low + step):
                low += step
            high = min(high, low + step - 1) if low + step < high else high
        else:
            high = guess - 1
            while high - step > 0 and not fits(high - step):
                high -= step + 1
            low = max(0, high - step)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# -- the page ---------------------------------------------------------------------------------------------------------


def _page(setting: Setting, rung: Rung, width: int, height: int, dropped: int) -> Page:
    """The HTML of a page and what stands on it."""
    body, lines = printed(setting, rung)
    present = {tier for group in setting.groups for tier in group.tiers}
    sizes = {tier: rung.sizes[tier] for tier in TIERS if tier in present}
    return Page(document(body, width, height, rung), width, height, sizes, dropped, lines=lines)


def document(body: str, width: int, height: int, rung: Rung) -> str:
    """A complete page around set blocks."""
    style = f"width:{width}px;height:{height}px;padding:{rung.head}px {rung.margin}px"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{stylesheet()}</style></head><body>'
        f'<div class="page" style="{style}">{body}</div></body></html>'
    )
