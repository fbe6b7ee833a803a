"""From budgets to pixels, by the rule of Qwen2.5-VL's processor, as the MemOCR paper (arXiv 2601.21468) uses it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from memagent_renderers.budget import Budget, ReaderProfile
from memagent_renderers.errors import InputError
from memagent_renderers.layout import fit
from memagent_renderers.pricing import MAX_ASPECT, READERS, PatchPricing, shrink_to, smart_resize

POWERS = [2**power for power in range(11)]

# page: budget: (width, height, tokens), as printed in section 2.3; "=" there is the size of the column before
TABLE = {
    (1152, 656): {
        1024: (1148, 644, 943),
        512: (812, 476, 493),
        256: (588, 336, 252),
        64: (280, 168, 60),
        16: (140, 84, 15),
    },
    (800, 600): {1024: (812, 588, 609), 512: (728, 532, 494), 256: (504, 364, 234), 64: (252, 168, 54), 16: (112, 84, 12)},
    (384, 656): {1024: (392, 644, 322), 512: (392, 644, 322), 256: (336, 560, 240), 64: (168, 280, 60), 16: (84, 140, 15)},
    (72, 193): {1024: (84, 196, 21), 512: (84, 196, 21), 256: (84, 196, 21), 64: (84, 196, 21), 16: (56, 168, 12)},
}


def shapes(count: int) -> Iterator[tuple[int, int]]:
    """Pages of all kinds, seeded: near squares, ribbons up to 200 : 1, single pixels, posters; one side at a time."""
    draw = random.Random(16)
    made = 0
    while made < count:
        width, height = (round(10 ** draw.uniform(0, 3.7)) for _ in range(2))
        if max(width, height) <= MAX_ASPECT * min(width, height):
            made += 1
            yield width, height


@pytest.mark.parametrize("page", TABLE)
def test_smart_resize_table(page: tuple[int, int]) -> None:
    for budget, (width, height, tokens) in TABLE[page].items():
        assert smart_resize(*page, min_tokens=8, max_tokens=budget) == (width, height)
        assert shrink_to(*page, budget) == (width, height)
        assert PatchPricing().cost(width, height) == tokens


def test_both_sides_stay() -> None:
    assert shrink_to(1000, 50, 16) == (448, 28)  # the published rule ends at 476 x 0
    assert shrink_to(50, 1000, 16) == (28, 448)
    assert all(min(shrink_to(*page, budget)) >= 28 for page in shapes(500) for budget in POWERS)


@pytest.mark.parametrize("page", [(20100, 100), (1, 201), (0, 5), (5, -1)])
def test_pages_too_long_or_empty_are_refused(page: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"200 times|at least 1 px"):
        smart_resize(*page)
    with pytest.raises(InputError):
        PatchPricing().cost(*page)


@pytest.mark.parametrize("cell", [28, 32])
@pytest.mark.parametrize("floor", [1, 4, 64])
def test_budget_never_exceeded(cell: int, floor: int) -> None:
    reader = PatchPricing(cell=cell, floor=floor)
    budgets = [budget for budget in POWERS if budget >= floor]
    for page in shapes(5000):
        for budget in budgets:
            width, height = shrink_to(*page, budget, cell=cell, floor=floor)
            tokens = (width // cell) * (height // cell)
            assert width % cell == height % cell == 0
            assert 1 <= tokens <= budget
            if max(width, height) <= MAX_ASPECT * min(width, height):
                # the reader's own resize, which is that of its processor (test_processor_limits.py), changes nothing
                assert reader.cost(width, height) == tokens


@pytest.mark.parametrize("name", READERS)
def test_budget_never_exceeded_by_the_largest_page(name: str) -> None:
    reader = READERS[name]
    for budget in {*POWERS, reader.floor, reader.ceiling, 4096, 9000, 100000}:
        if budget >= reader.floor:
            assert reader.floor <= reader.cost(*reader.largest(budget)) <= min(budget, reader.ceiling)


@pytest.mark.parametrize("name", READERS)
def test_budget_never_exceeded_by_a_page(name: str, memory: str) -> None:
    reader = ReaderProfile(name, pricing=READERS[name])
    for budget in {max(tokens, reader.image_floor) for tokens in (16, 100, 256, 1000)}:
        for text in (memory, "Ada"):
            page = fit(text, Budget(budget, reader))
            assert reader.image_cost(page.width, page.height) <= budget


@pytest.mark.parametrize("cell", [28, 32])
def test_small_pages_are_not_enlarged(cell: int) -> None:
    for page in shapes(1000):
        columns, rows = (max(1, round(side / cell)) for side in page)
        for budget in POWERS:
            least = min(8, max(1, budget // 2))
            width, height = shrink_to(*page, budget, cell=cell)
            if least <= columns * rows <= budget:
                assert (width, height) == (columns * cell, rows * cell)
            elif columns * rows < least:
                assert width >= columns * cell
                assert height >= rows * cell
                # no further than rounding up to whole cells takes it: a row and a column less would be too little
                assert (width // cell - 1) * (height // cell - 1) < least


def test_minimum_sizes() -> None:
    assert shrink_to(28, 28, 1024) == (84, 84)  # 8 tokens or more
    assert shrink_to(56, 112, 1024) == (56, 112)  # 8 tokens already
    assert shrink_to(28, 28, 4) == (56, 56)  # B // 2 = 2: two cells cannot be square
    assert shrink_to(28, 56, 4) == (28, 56)
    assert shrink_to(28, 28, 1) == (28, 28)
