"""Budgets: the grid of a page, the floor of a reader."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent_renderers.budget import Budget, Picture, ReaderProfile, tokens_for
from memagent_renderers.errors import BudgetError
from memagent_renderers.pricing import READERS, PatchPricing, shrink_to, smart_resize


@given(st.integers(1, 20000))
def test_the_grid_is_near_square_and_within_budget(tokens: int) -> None:
    columns, rows = (side // 28 for side in PatchPricing(floor=1).largest(tokens))
    assert 1 <= columns * rows <= min(tokens, 16384)
    assert rows <= columns <= 2 * rows
    assert columns * rows >= 0.66 * min(tokens, 16384)


def test_familiar_grids() -> None:
    grids = {tokens: tuple(side // 28 for side in PatchPricing().largest(tokens)) for tokens in (4, 8, 16, 64, 256, 1024)}
    assert grids == {4: (2, 2), 8: (4, 2), 16: (4, 4), 64: (8, 8), 256: (16, 16), 1024: (32, 32)}


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 300), st.integers(0, 300))
def test_resizing_ends_within_both_limits_at_the_nearest_shape(width: int, height: int, least: int, more: int) -> None:
    aspect = width / height
    if not 1 / 200 <= aspect <= 200:
        return
    wide, high = smart_resize(width, height, cell=1, min_tokens=least, max_tokens=least + more)
    assert least <= wide * high <= least + more
    assert wide == high or (wide > high) == (width > height) or abs(math.log(aspect)) < 0.7


def test_a_page_is_scaled_to_the_floor_of_its_reader() -> None:
    assert shrink_to(1000, 700, 64) == (252, 168)  # 54 tokens, which a reader with a floor of 64 would make 70
    width, height = shrink_to(1000, 700, 64, floor=64)
    assert (width, height) == (224, 224)
    assert PatchPricing(floor=64).cost(width, height) == 64
    assert PatchPricing(floor=64).cost(252, 168) == 70
    with pytest.raises(BudgetError, match="at least 64 visual tokens; the budget is 63"):
        shrink_to(1000, 700, 63, floor=64)


def test_a_budget_below_the_floor_is_an_error_that_names_it() -> None:
    with pytest.raises(BudgetError, match="at least 4 visual tokens; the budget is 3"):
        tokens_for(Budget(3))
    with pytest.raises(BudgetError, match="reader `openai:gpt-4o` at least 255 visual tokens; the budget is 254"):
        tokens_for(Budget(254, ReaderProfile("openai:gpt-4o", pricing=READERS["gpt-4o"])))


def test_a_budget_above_the_ceiling_buys_no_more() -> None:
    assert tokens_for(Budget(10**6)) == 16384
    assert tokens_for(Budget(1024, ReaderProfile("gemma", pricing=READERS["gemma-3"]))) == 256


def test_a_picture_prints_without_its_bytes() -> None:
    assert repr(Picture(png=b"\x89PNG", width=28, height=28, tokens=1)).startswith("Picture(width=28, height=28, tokens=1")
