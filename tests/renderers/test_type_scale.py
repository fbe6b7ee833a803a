"""Type sizes are the solution of a small optimisation, not a list of guesses."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent_renderers.legibility_curve import OCR, LegibilityCurve
from memagent_renderers.type_scale import COMFORT, EMPHASIS, FACT_WORDS, densest_scale, line_height, overfull, type_scales

SHARES = ("h1", "body", "small")
SOFT = ((4.0, 0.2), (8.0, 0.5), (12.0, 0.8), (16.0, 0.95), (24.0, 1.0))


def worth(legibility: LegibilityCurve, tier: str, size: float) -> float:
    """Worth of a character, written down a second time from the module's account of it."""
    from math import log2

    read = min(legibility.share(size), legibility.share(size, bold=True)) ** FACT_WORDS
    return read + EMPHASIS[tier] * COMFORT * log2(size / densest_scale(legibility))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([OCR, LegibilityCurve("soft", SOFT, SOFT)]),
    st.tuples(*[st.integers(20, 600)] * 3),
    st.floats(1.05, 6.0),
)
def test_no_other_choice_of_sizes_is_worth_much_more(
    legibility: LegibilityCurve, counts: tuple[int, int, int], slack: float
) -> None:
    rungs = type_scales(legibility, loose=False)
    text = dict(zip(SHARES, counts, strict=True))

    def area(sizes: dict[str, float]) -> float:
        return sum(count * sizes[tier] * line_height(sizes[tier], loose=False) for tier, count in text.items())

    def total(sizes: dict[str, float]) -> float:
        return sum(count * worth(legibility, tier, sizes[tier]) for tier, count in text.items())

    room = slack * area(rungs[0].sizes)
    chosen = max((rung for rung in rungs if area(rung.sizes) <= room), key=lambda rung: area(rung.sizes))
    step = max(total(after.sizes) - total(before.sizes) for before, after in pairwise(rungs))
    grids = [sorted({rung.sizes[tier] for rung in rungs}) for tier in SHARES]
    choices = (dict(zip(SHARES, sizes, strict=True)) for sizes in product(*grids))
    best = max(total(sizes) for sizes in choices if area(sizes) <= room)
    assert total(chosen.sizes) >= best - step - 1e-9  # sizes come in steps: the last one may just not fit


def test_sizes_rise_with_the_room_and_the_steps_are_small() -> None:
    for loose in (False, True):
        for before, after in pairwise(type_scales(OCR, loose=loose)):
            assert all(before.sizes[tier] <= after.sizes[tier] for tier in before.sizes)
            assert max(after.sizes[tier] / before.sizes[tier] for tier in before.sizes) < 1.35


@pytest.mark.parametrize("points", [SOFT, ((6.0, 0.1), (30.0, 0.9)), ((40.0, 1.0),)])
def test_an_overfull_page_keeps_crucial_text_legible(points: tuple[tuple[float, float], ...]) -> None:
    legibility = LegibilityCurve("eye", points, points)
    rung = overfull(legibility)
    assert rung.sizes["body"] >= densest_scale(legibility)
    assert rung.sizes["h1"] >= rung.sizes["bold"] >= legibility.smallest()
