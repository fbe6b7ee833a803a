"""Stand-in for the calibrated eye and the page: chances and sizes from the table of the laptop notes, nothing drawn.

A page is 448 px wide and as high as its lines; a fact is one paragraph in its tier's type. A picture over the budget is
shrunk by the reader's own rule, and a fact is read with the chance of its type's size after that.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from memagent.environments.long_qa.worlds import Fact
from renderers.budget import shrink_to


@dataclass(frozen=True)
class Type:
    """The type of a tier."""

    px: float
    bold: bool
    markdown: str
    """A line of Markdown with {} for the sentence."""


TYPES = {
    "H1": Type(32.0, True, "# {}"),
    "bold": Type(16.0, True, "**{}**"),
    "body": Type(16.0, False, "{}"),
    "small": Type(10.72, False, "<small>{}</small>"),
}
WIDTH, MARGIN, LINE_HEIGHT = 448, 4, 1.2
_REGULAR = ((3.5, 0.0), (4, 0.03), (4.5, 0.19), (5, 0.53), (5.5, 0.74), (6, 0.85), (7.5, 0.94), (10, 1.0))
_BOLD = ((4, 0.0), (4.5, 0.34), (5, 0.80), (5.5, 0.84), (6, 0.94), (7.5, 0.96), (8, 1.0))
"""Size of type in the shrunk picture in px, share of facts that were read."""


def chance(tier: str, factor: float) -> float:
    """The chance that a fact in `tier` is read when the page is scaled by `factor`."""
    table = _BOLD if TYPES[tier].bold else _REGULAR
    size = TYPES[tier].px * factor
    after = bisect.bisect([one for one, _ in table], size)
    if after in (0, len(table)):
        return table[0][1] if after == 0 else table[-1][1]
    (low, least), (high, most) = table[after - 1], table[after]
    return least + (most - least) * (size - low) / (high - low)


def page_size(tiers: Sequence[str], facts: Sequence[Fact]) -> tuple[int, int]:
    """Width and height in px of the page that sets each fact in its tier."""
    lines = sum(_lines(fact.sentence, tier) * TYPES[tier].px for fact, tier in zip(facts, tiers, strict=True))
    return WIDTH, math.ceil(lines * LINE_HEIGHT) + 2 * MARGIN


def factor(width: int, height: int, tokens: int) -> float:
    """By how much the reader scales a page for so many visual tokens: the mean of both sides; 1 where it fits."""
    shrunk = shrink_to(width, height, tokens)
    return min(1.0, math.sqrt(shrunk[0] * shrunk[1] / (width * height)))


@cache
def _font(bold: bool) -> Any:
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), 100)


@cache
def _advance(word: str, bold: bool) -> float:
    """In em."""
    return float(_font(bold).getlength(word)) / 100


@lru_cache(200_000)
def _lines(sentence: str, tier: str) -> int:
    kind = TYPES[tier]
    room = (WIDTH - 2 * MARGIN) / kind.px
    blank = _advance(" ", kind.bold)
    lines, used = 1, 0.0
    for word in sentence.split():
        wide = _advance(word, kind.bold)
        if used and used + blank + wide > room:
            lines, used = lines + 1, wide
        else:
            used += wide + (blank if used else 0.0)
    return lines
