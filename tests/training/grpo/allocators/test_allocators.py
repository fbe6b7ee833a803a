"""What every allocator keeps to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import ConfigError
from memagent_training.grpo.allocators import (
    ALLOCATORS,
    CobaAllocator,
    KnapsackAllocator,
    UniformAllocator,
)
from memagent_training.grpo.prompt_stats import PromptStats

rates = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1)), max_size=9)


def seen(*visits, window=1):
    history = PromptStats(window=window)
    history.record(visits)
    return history


@pytest.mark.parametrize("name", ["uniform", "coba", "knapsack"])
def test_every_part_splits_evenly_at_first_and_asks_for_nothing_more(name):
    part = ALLOCATORS[name]()
    assert part.name == name
    assert part.first(["a", "b", "c"], total=20, history=PromptStats()) == [7, 7, 6]
    assert part.first([], total=0, history=PromptStats()) == []
    assert part.more([[1.0], [0.0]], priors=[None, 0.5], bounds=(0, 1)) is None


def test_only_uniform_promises_equal_groups():
    assert [ALLOCATORS[name].ragged for name in ("uniform", "coba", "knapsack")] == [False, True, True]


def test_uniform_does_not_look_at_the_past():
    assert UniformAllocator().first(["a", "b"], total=8, history=seen(("a", 0, 4), ("b", 2, 4))) == [4, 4]


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        (CobaAllocator, {"low": 9, "high": 8}),
        (CobaAllocator, {"low": -1}),
        (CobaAllocator, {"kappa": 1.0}),
        (CobaAllocator, {"mode": "code"}),
        (CobaAllocator, {"spill": "even"}),
        (CobaAllocator, {"shape": (0.0, 2.0)}),
        (CobaAllocator, {"shape": (1.0, 2.0, 3.0)}),
        (KnapsackAllocator, {"low": 9, "high": 8}),
        (KnapsackAllocator, {"method": "heap"}),
        (KnapsackAllocator, {"value": "v1"}),
    ],
)
def test_impossible_settings_are_refused_when_the_part_is_built(part, settings):
    with pytest.raises(ConfigError, match=f"allocator `{part.name}`"):
        part(**settings)


@given(rates, st.integers(0, 30), st.sampled_from(["uniform", "coba", "knapsack"]))
def test_every_part_gives_out_the_total(given_rates, extra, name):
    history = PromptStats()
    prompts = [str(position) for position in range(len(given_rates))]
    visits = zip(prompts, given_rates, strict=True)
    history.record([(prompt, round(rate * 8), 8) for prompt, rate in visits if rate is not None])
    total = 2 * len(prompts) + extra
    counts = ALLOCATORS[name]().first(prompts, total=total, history=history)
    assert sum(counts) == (total if prompts else 0)
    assert all(one >= 2 for one in counts)
