"""Pixels and visual tokens: the published table, the repair, the grid."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.budget import max_grid, shrink_to, smart_resize, tokens_for
from renderers.errors import BudgetError, InputError
from renderers.pricing import PatchPricing
from renderers.reader import Budget

TABLE = [
    ((1152, 656), {1024: (1148, 644), 512: (812, 476), 256: (588, 336), 64: (280, 168), 16: (140, 84)}),
    ((800, 600), {1024: (812, 588), 512: (728, 532), 256: (504, 364), 64: (252, 168), 16: (112, 84)}),
    ((384, 656), {1024: (392, 644), 512: (392, 644), 256: (336, 560), 64: (168, 280), 16: (84, 140)}),
    ((72, 193), {1024: (84, 196), 512: (84, 196), 256: (84, 196), 64: (84, 196), 16: (56, 168)}),
]


@pytest.mark.parametrize(("page", "sizes"), TABLE)
def test_smart_resize_equals_the_table_of_the_specification(page: tuple[int, int], sizes: dict[int, tuple[int, int]]) -> None:
    assert {budget: shrink_to(*page, budget) for budget in sizes} == sizes


def test_a_thin_page_keeps_both_sides() -> None:
    width, height = shrink_to(1000, 50, 16)
    assert min(width, height) >= 28
    assert width * height <= 16 * 784


def test_too_long_and_empty_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="200 times"):
        smart_resize(20100, 100)
    with pytest.raises(InputError, match="at least 1 px"):
        smart_resize(0, 100)


def test_no_page_shape_exceeds_any_budget() -> None:
    draw = random.Random(7)
    for _ in range(2000):
        width, height = draw.randint(1, 3000), draw.randint(1, 3000)
        if max(width, height) / min(width, height) > 200:
            continue
        for budget in (2**power for power in range(11)):
            for cell in (28, 32):
                wide, high = shrink_to(width, height, budget, cell=cell)
                assert min(wide, high) >= cell
                assert wide % cell == high % cell == 0
                assert wide * high <= budget * cell * cell
                assert smart_resize(wide, high, cell=cell, min_tokens=1, max_tokens=budget) == (wide, high)


@given(st.integers(1, 20000))
def test_the_grid_is_near_square_and_within_budget(tokens: int) -> None:
    columns, rows = max_grid(tokens, PatchPricing(floor=1))
    assert 1 <= columns * rows <= min(tokens, 16384)
    assert columns <= 2 * rows or tokens < 3
    assert columns * rows >= 0.75 * min(tokens, 16384)


def test_familiar_grids() -> None:
    grids = {tokens: max_grid(tokens, PatchPricing()) for tokens in (4, 8, 16, 64, 256, 1024)}
    assert grids == {4: (2, 2), 8: (4, 2), 16: (4, 4), 64: (8, 8), 256: (16, 16), 1024: (32, 32)}


def test_a_budget_below_the_floor_is_an_error_that_names_it() -> None:
    with pytest.raises(BudgetError, match="at least 4 visual tokens; the budget is 3"):
        tokens_for(Budget(3))
