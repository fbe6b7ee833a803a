"""Visual tokens and pixels: the rules that turn a budget into a page size, exactly.

A reader of the Qwen family resizes a picture so that both sides are multiples of its cell (28 or 32 px) and charges
one token a cell (`smart_resize`). Pages are laid out on that grid from the start (`max_grid`), so that the reader's
own resize leaves them alone and the price is known before anything is drawn.
"""

from __future__ import annotations

import math

from renderers.errors import BudgetError, InputError
from renderers.reader import Budget, ImagePricing

MAX_ASPECT = 200
"""Longer side over shorter side beyond which readers of the Qwen family refuse a picture."""
PAGE_ASPECT = 2.0
"""Longer side over shorter side up to which a page counts as near square."""


def smart_resize(width: int, height: int, *, cell: int = 28, min_tokens: int = 4, max_tokens: int = 16384) -> tuple[int, int]:
    """Size (width, height) at which a reader takes a picture in: multiples of `cell`, within both token limits.

    The published rule with one repair: a side never falls below one cell, and the other side is shortened until the
    price is at most `max_tokens`. Raises `InputError` for an empty picture or one longer than `MAX_ASPECT` : 1.
    """
    if min(width, height) < 1:
        raise InputError(f"a picture needs sides of at least 1 px, not {width} x {height}")
    if max(width, height) / min(width, height) > MAX_ASPECT:
        raise InputError(f"a picture may be at most {MAX_ASPECT} times as long as wide, not {width} x {height}")
    columns, rows = max(1, round(width / cell)), max(1, round(height / cell))
    if columns * rows > max_tokens:
        scale = math.sqrt(width * height / (max_tokens * cell * cell))
        columns, rows = math.floor(width / scale / cell), math.floor(height / scale / cell)
    elif columns * rows < min_tokens:
        scale = math.sqrt(min_tokens * cell * cell / (width * height))
        columns, rows = math.ceil(width * scale / cell), math.ceil(height * scale / cell)
    columns, rows = max(1, columns), max(1, rows)
    if columns * rows > max_tokens:
        short = min(columns, rows, max_tokens)
        long = max(1, max_tokens // short)
        columns, rows = (long, short) if columns >= rows else (short, long)
    return columns * cell, rows * cell


def shrink_to(width: int, height: int, tokens: int, *, cell: int = 28) -> tuple[int, int]:
    """Size to which a finished page is scaled for `tokens`; small pages grow to min(8, tokens // 2) tokens only."""
    return smart_resize(width, height, cell=cell, min_tokens=min(8, max(1, tokens // 2)), max_tokens=tokens)


def max_grid(tokens: int, pricing: ImagePricing) -> tuple[int, int]:
    """Columns and rows of cells of the largest near-square page that costs at most `tokens`; wide before tall."""
    tokens = min(tokens, pricing.ceiling)
    best = (1, tokens) if tokens < 3 else (1, 1)
    for rows in range(1, math.isqrt(tokens) + 1):
        columns = min(tokens // rows, int(rows * PAGE_ASPECT))
        if columns * rows >= best[0] * best[1]:
            best = (columns, rows)
    return best


def tokens_for(budget: Budget) -> int:
    """Visual tokens that a page for `budget` may cost. Raises `BudgetError` below the reader's floor."""
    pricing = budget.reader.pricing
    if budget.tokens < pricing.floor:
        raise BudgetError(
            f"every picture costs reader `{budget.reader.name}` at least {pricing.floor} visual tokens; "
            f"the budget is {budget.tokens}. Give {pricing.floor} or more."
        )
    return min(budget.tokens, pricing.ceiling)
