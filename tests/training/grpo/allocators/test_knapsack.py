"""V_0 and Knapsack-RL: values, solvers and the part."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from helpers.slow_allocation import brute_force, worth
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.grpo.allocators import (
    KnapsackAllocator,
    knapsack_allocate,
    knapsack_rl_value,
    knapsack_value,
)
from memagent_training.grpo.prompt_stats import PromptStats


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_single_and_empty_groups_are_worth_nothing(p):
    assert knapsack_value(0, p) == knapsack_value(1, p) == 0.0
    assert knapsack_rl_value(0, p) == 0.0
    assert knapsack_rl_value(1, p) == pytest.approx(0.0, abs=1e-15)


def test_knapsack_values_by_hand_and_vectorised():
    assert knapsack_value(2, 0.3) == pytest.approx(0.42, rel=1e-12)
    assert knapsack_value(8, 0.5) == pytest.approx(3.96875, rel=1e-12)
    assert knapsack_rl_value(2, 0.5) == pytest.approx(0.5 * 0.125, rel=1e-12)
    table = knapsack_value(np.arange(4)[None, :], np.array([0.2, 0.5])[:, None])
    assert table.shape == (2, 4)
    assert table[1, 3] == knapsack_value(3, 0.5) == 1.125
    assert isinstance(knapsack_rl_value(2, 0.5), float)


@pytest.mark.parametrize("value", ["v0", "knapsack_rl"])
@pytest.mark.parametrize("seed", range(15))
def test_knapsack_dp_equals_brute_force(seed, value):
    rng = np.random.default_rng(seed)
    success = rng.random(int(rng.integers(1, 5)))
    low, high = 1, int(rng.integers(3, 9))
    worth_of = {"v0": knapsack_value, "knapsack_rl": knapsack_rl_value}[value]
    table = worth_of(np.arange(low, high + 1)[None, :], np.clip(success, 1e-3, 1 - 1e-3)[:, None])
    total = int(rng.integers(low * len(success), high * len(success) + 1))
    counts = knapsack_allocate(success, total, low=low, high=high, method="dp", value=value)
    best = brute_force(table, total - low * len(success))
    assert worth(table, [one - low for one in counts]) == pytest.approx(best, rel=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 40))
def test_greedy_is_exact_for_the_value_of_knapsack_rl(success, extra):
    total = 2 * len(success) + extra
    table = knapsack_rl_value(np.arange(2, 17)[None, :], np.clip(success, 1e-3, 1 - 1e-3)[:, None])
    found = {
        method: worth(
            table,
            [one - 2 for one in knapsack_allocate(success, total, low=2, high=16, method=method, value="knapsack_rl")],
        )
        for method in ("greedy", "dp")
    }
    assert found["greedy"] == pytest.approx(found["dp"], rel=1e-9, abs=1e-15)


def test_unknown_and_sure_rates_are_filled_and_clipped():
    bounds = {"low": 2, "high": 9}
    assert knapsack_allocate([None, 0.9], 12, **bounds) == knapsack_allocate([0.5, 0.9], 12, **bounds)
    assert knapsack_allocate([0.0, 0.9], 12, **bounds) == knapsack_allocate([1e-3, 0.9], 12, **bounds)
    assert knapsack_allocate([1.0, 0.9], 12, **bounds) == knapsack_allocate([1 - 1e-3, 0.9], 12, **bounds)
    assert knapsack_allocate([], 0, **bounds) == []
    assert knapsack_allocate([0.4], 5, **bounds) == [5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"total": 3}, "need 4, the total is 3"),
        ({"method": "heap"}, "one of: greedy, dp"),
        ({"value": "v1"}, "one of: v0, knapsack_rl"),
        ({"success_rates": [0.5, 2.0]}, "2.0"),
        ({"low": 7}, "`low` is 7"),
    ],
)
def test_knapsack_allocate_refuses(change, said):
    with pytest.raises(InputError, match=said):
        knapsack_allocate(**{"success_rates": [0.2, 0.6], "total": 8, "low": 2, "high": 6, **change})


@pytest.mark.parametrize("value", [knapsack_value, knapsack_rl_value])
@pytest.mark.parametrize(("budget", "rate"), [(-1, 0.5), (np.nan, 0.5), (2, 1.5), (2, np.nan)])
def test_knapsack_values_refuse(value, budget, rate):
    with pytest.raises(InputError, match=r"budget is negative|success rate is"):
        value(budget, rate)


def seen(*visits, window=1):
    history = PromptStats(window=window)
    history.record(visits)
    return history


def test_knapsack_part_calls_knapsack_allocate_with_the_rates():
    history = seen(("a", 2, 10), ("b", 6, 10))
    for settings in ({}, {"method": "dp"}, {"value": "knapsack_rl"}, {"low": 1, "high": 12}):
        part = KnapsackAllocator(**settings)
        expected = knapsack_allocate([0.2, None, 0.6], 30, **{"low": 2, "high": 128, **settings})
        assert part.first(["a", "new", "b"], total=30, history=history) == expected


@pytest.mark.parametrize("history", [PromptStats(), seen(("a", 1, 2))])
def test_knapsack_part_refuses_a_total_below_its_least(history):
    with pytest.raises(InputError, match="need 4, the total is 3"):
        KnapsackAllocator().first(["a", "b"], total=3, history=history)


def total_value(counts, rates):
    return float(np.sum(knapsack_value(counts, np.clip(rates, 1e-3, 1 - 1e-3))))


def test_the_best_rate_falls_with_the_budget():
    grid = np.linspace(0, 1, 100_001)
    best = [float(grid[knapsack_value(budget, grid).argmax()]) for budget in (4, 8, 16, 32)]
    assert best == pytest.approx([0.370, 0.257, 0.169, 0.106], abs=5e-4)


@given(st.integers(1, 200), st.floats(0, 1))
def test_marginal_identity(budget, rate):
    q = 1 - rate
    gain = knapsack_value(budget + 1, rate) - knapsack_value(budget, rate)
    assert gain == pytest.approx(q + q**budget * (budget * rate - q), abs=1e-10)


@pytest.mark.parametrize("budget", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("rate", [0.0, 0.07, 0.5, 0.93, 1.0])
def test_is_the_expected_failures_of_mixed_groups(budget, rate):
    chances = [math.comb(budget, won) * rate**won * (1 - rate) ** (budget - won) for won in range(budget + 1)]
    expected = sum(chances[won] * (budget - won) for won in range(1, budget))
    assert knapsack_value(budget, rate) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=5), st.integers(0, 3), st.integers(0, 8), st.integers(0, 50))
def test_sum_bounds_and_order_of_values(rates, low, room, extra):
    high, total = low + room, len(rates) * low + extra
    counts = {m: knapsack_allocate(rates, total, low=low, high=high, method=m) for m in ("greedy", "dp")}
    for found in counts.values():
        assert sum(found) == min(total, len(rates) * high)
        assert all(low <= one <= high for one in found)
    greedy, exact = (total_value(counts[m], rates) for m in ("greedy", "dp"))
    assert exact >= greedy - 1e-9
    assert greedy >= total_value([low] * len(rates), rates) - 1e-9


@pytest.mark.parametrize("method", ["greedy", "dp"])
def test_permuting_prompts_permutes_counts(method):
    rng = np.random.default_rng(16)
    for _ in range(30):
        rates = rng.random(int(rng.integers(2, 7)))
        order = rng.permutation(len(rates))
        counts = knapsack_allocate(rates, 60, low=2, high=20, method=method)
        moved = knapsack_allocate(rates[order], 60, low=2, high=20, method=method)
        assert moved == [counts[position] for position in order]


def test_greedy_is_not_optimal():
    rates = [0.02, 0.5]
    greedy = knapsack_allocate(rates, 40, low=2, high=128)
    exact = knapsack_allocate(rates, 40, low=2, high=128, method="dp")
    assert (greedy, exact) == ([2, 38], [38, 2])
    assert total_value(greedy, rates) == pytest.approx(19.04, abs=5e-3)
    assert total_value(exact, rates) == pytest.approx(20.11, abs=5e-3)


def test_greedy_is_all_or_nothing_on_a_large_batch():
    rates = (np.arange(64) + 0.5) / 64
    counts = np.array(knapsack_allocate(rates, 1024, low=2, high=128))
    assert ((counts > 2).sum(), (counts == 128).sum()) == (14, 6)
    mixed = [float(np.mean(1 - rates**size - (1 - rates) ** size)) for size in (counts, np.full(64, 16))]
    assert mixed == pytest.approx([0.45, 0.88], abs=5e-3)


def test_bounds_greedy_default_dp_and_error_when_infeasible():
    part = KnapsackAllocator()
    assert (part.low, part.high, part.method, part.value) == (2, 128, "greedy", "v0")
    assert inspect.signature(knapsack_allocate).parameters["method"].default == "greedy"
    history = PromptStats()
    history.record([("a", 1, 50), ("b", 1, 2)])
    assert part.first(["a", "b"], total=40, history=history) == [2, 38]
    assert KnapsackAllocator(method="dp").first(["a", "b"], total=40, history=history) == [38, 2]
    for method in ("greedy", "dp"):
        assert knapsack_allocate([0.1] * 3, 400, low=2, high=128, method=method) == [128] * 3
        assert min(knapsack_allocate([0.02, 0.5], 40, low=2, high=128, method=method)) == 2
        with pytest.raises(InputError, match="need 4, the total is 3"):
            knapsack_allocate([0.2, 0.4], 3, low=2, high=128, method=method)
