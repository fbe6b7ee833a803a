"""Type sizes for every tier, solved: how a page of limited area is shared out among important and less important text.

A character of size s takes an area of about s x (height of its line) and is worth, to the reader,

    (share of words read at s) ** FACT_WORDS + EMPHASIS[tier] * COMFORT * log2(s / densest size):

being read counts alike for all text, and importance decides who may be large. (What gets a place at all on an overfull
page is decided by importance alone, when the page is filled.) The most worth on a given area is a convex problem once
each tier keeps to the sizes on the upper hull of (area, worth): begin with every tier at its least size, then enlarge
step by step, the step with most worth per area first. `type_scales` is that sequence; layout takes its largest member that
holds the document. Tiers of more emphasis never get smaller type than those below: equal curves are cut at one slope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from memagent_renderers.document import TIERS
from memagent_renderers.legibility_curve import LegibilityCurve

BODY = 16.0
"""Body size in px of a page with room to spare; the published page has the same."""
LOOSE_FROM = 11.0
"""Smallest body size in px of a loose page, on which blocks start lines of their own and lines stand apart."""
FACT_WORDS = 4
"""Words that must all be read for one fact to arrive (a name, a date or a sum with what it belongs to)."""
COMFORT = 0.05
"""Worth of type of twice the size, beside being read, as a share of the worth of being read."""

LARGEST = {"h1": 2.0, "h2": 1.5, "h3": 1.17, "bold": 1.0, "h4": 1.0, "body": 1.0, "h5": 0.9, "h6": 0.85, "small": 0.85}
"""Largest size of each tier, as a multiple of `BODY`: the published scale of headings."""
EMPHASIS = {"h1": 4.0, "h2": 2.25, "h3": 1.4, "bold": 1.2, "h4": 1.0, "body": 1.0, "h5": 0.8, "h6": 0.7, "small": 0.6}
"""Worth of larger type in each tier: of headings the square of the published scale, the area they were given there."""


@dataclass(frozen=True)
class TypeScale:
    """One set of type sizes."""

    sizes: dict[str, float]
    """Type size in px of each tier."""
    loose: bool
    """Blocks start lines of their own and lines stand apart; else text of one size runs on, set solid."""

    def line(self, tier: str) -> int:
        """Height in px of a line of this tier."""
        return line_height(self.sizes[tier], loose=self.loose)

    @cached_property
    def heights(self) -> dict[str, int]:
        """`line` of every tier."""
        return {tier: self.line(tier) for tier in self.sizes}

    @cached_property
    def areas(self) -> dict[str, float]:
        """For every tier the px of page that a px of type takes across: its size times the height of its line."""
        return {tier: size * self.line(tier) for tier, size in self.sizes.items()}

    def gap(self, above: str, below: str) -> int:
        """Space in px between blocks of these tiers."""
        return round(self.sizes["body"] / 3) if self.loose else 0

    @property
    def margin(self) -> int:
        """Space in px left and right of the text."""
        return round(self.sizes["body"] / 4) if self.loose else 1

    @property
    def head(self) -> int:
        """Space in px above the first and below the last line; none on dense pages, whose lines hold their letters."""
        return self.margin if self.loose else 0


def line_height(size: float, *, loose: bool) -> int:
    """Height in px of a line of type of this size. Dense lines are set solid, half pixels of the size left out."""
    if not loose:
        return max(1, math.floor(size))
    return math.ceil(size * (1.25 if size >= 12 else 1.1))


@lru_cache(maxsize=64)
def type_scales(legibility: LegibilityCurve, *, loose: bool) -> tuple[TypeScale, ...]:
    """Sets of sizes by rising size, of dense or of loose pages; the last is that of a page with room to spare.

    On each, sizes fall or stay from tier to tier in the order of `TIERS`; H4 has the size of body.
    """
    return tuple(rung for _, rung in _path(legibility, loose))


@lru_cache(maxsize=64)
def overfull(legibility: LegibilityCurve) -> TypeScale:
    """The sizes of a page that does not hold everything even at the densest.

    On it, area has a price: what text that is left out for want of room would be worth at the densest size. Only what
    earns more than that is enlarged. For an eye that reads its densest size well, nothing does: the page is flat.
    """
    price = _density(legibility, densest_scale(legibility))
    return [rung for slope, rung in _path(legibility, False) if slope >= price][-1]


@lru_cache(maxsize=64)
def densest_scale(legibility: LegibilityCurve) -> float:
    """The size in px that brings most read facts on a given area, in halves; larger ones win ties.

    Smaller type than this is never worth its area: leaving some of the text out at this size shows more.
    """
    if _fact_share(legibility, BODY) <= 0:
        return legibility.smallest()
    halves = [size / 2 for size in range(8, round(2 * BODY) + 1)]
    return max(halves, key=lambda size: (_density(legibility, size), size))


def _fact_share(legibility: LegibilityCurve, size: float) -> float:
    return min(legibility.share(size), legibility.share(size, bold=True)) ** FACT_WORDS


def _density(legibility: LegibilityCurve, size: float) -> float:
    return _fact_share(legibility, size) / (size * line_height(size, loose=False))


@lru_cache(maxsize=64)
def _path(legibility: LegibilityCurve, loose: bool) -> tuple[tuple[float, TypeScale], ...]:
    """(worth per px of area of the last enlargement, sizes after it), by falling worth; it begins with the densest."""
    steps = [(slope, size, tier) for tier in TIERS for slope, size in _enlargements(legibility, tier, loose)]
    steps.sort(key=lambda step: (-step[0], step[1], TIERS.index(step[2])))
    sizes = {tier: _least(legibility, tier, loose) for tier in TIERS}
    path = [(math.inf, TypeScale(_in_order(sizes), loose))]
    for slope, size, tier in steps:
        sizes[tier] = max(sizes[tier], size)
        path.append((slope, TypeScale(_in_order(sizes), loose)))
    return tuple(path)


def _least(legibility: LegibilityCurve, tier: str, loose: bool) -> float:
    """Smallest size that a tier may get: crucial text is legible before any other text is there at all."""
    least = densest_scale(legibility)
    if EMPHASIS[tier] > EMPHASIS["body"]:
        least = max(least, legibility.smallest())
    return max(least, math.ceil(2 * LOOSE_FROM * min(1.0, LARGEST[tier])) / 2) if loose else least


def _in_order(sizes: dict[str, float]) -> dict[str, float]:
    """The sizes with ties of rounding mended: no tier is larger than one before it."""
    ordered: dict[str, float] = {}
    least = math.inf
    for tier in TIERS:
        least = min(least, sizes[tier])
        ordered[tier] = least
    ordered["h4"] = ordered["body"]
    return ordered


def _enlargements(legibility: LegibilityCurve, tier: str, loose: bool) -> list[tuple[float, float]]:
    """(worth gained per px of area, new size) for each step along the upper hull of a tier's (area, worth) points."""
    first = _least(legibility, tier, loose)
    last = max(first, BODY * LARGEST[tier])
    points: list[tuple[float, float, float]] = []
    halves = (half / 2 for half in range(math.floor(2 * first) + 1, math.ceil(2 * last)))
    sizes = [first, *(size for size in halves if size < 12 or size == int(size)), *[last] * (last > first)]
    for size in sizes:  # in halves, whole from 12 px on
        comfort = EMPHASIS[tier] * COMFORT * math.log2(max(1.0, size / densest_scale(legibility)))
        worth = _fact_share(legibility, size) + comfort  # of one character
        point = (size * line_height(size, loose=loose), worth, size)
        while len(points) > 1 and _slope(points[-2], point) >= _slope(points[-2], points[-1]):
            points.pop()
        if not points or point[0] > points[-1][0]:
            points.append(point)
    return [(_slope(before, after), after[2]) for before, after in pairwise(points)]


def _slope(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    if after[0] <= before[0]:
        return math.inf if after[1] > before[1] else -math.inf
    return (after[1] - before[1]) / (after[0] - before[0])
