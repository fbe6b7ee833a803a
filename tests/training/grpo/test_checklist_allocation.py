"""`spec/value_models.md`: properties 15 and 16 of section 4, bullet 13 of section 5."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.grpo.allocators import KnapsackAllocator, knapsack_allocate, knapsack_value
from memagent_training.grpo.prompt_stats import PromptStats


def total_value(counts, rates):
    return float(np.sum(knapsack_value(counts, np.clip(rates, 1e-3, 1 - 1e-3))))


def test_property_15_worked_values():
    assert knapsack_value(2, 0.3) == pytest.approx(0.42, abs=1e-12)
    assert knapsack_value(8, 0.5) == pytest.approx(3.96875, abs=1e-12)


def test_property_15_the_best_rate_falls_with_the_budget():
    grid = np.linspace(0, 1, 100_001)
    best = [float(grid[knapsack_value(budget, grid).argmax()]) for budget in (4, 8, 16, 32)]
    assert best == pytest.approx([0.370, 0.257, 0.169, 0.106], abs=5e-4)


@given(st.integers(1, 200), st.floats(0, 1))
def test_property_15_marginal_identity(budget, rate):
    q = 1 - rate
    gain = knapsack_value(budget + 1, rate) - knapsack_value(budget, rate)
    assert gain == pytest.approx(q + q**budget * (budget * rate - q), abs=1e-10)


@pytest.mark.parametrize("budget", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("rate", [0.0, 0.07, 0.5, 0.93, 1.0])
def test_property_15_is_the_expected_failures_of_mixed_groups(budget, rate):
    chances = [math.comb(budget, won) * rate**won * (1 - rate) ** (budget - won) for won in range(budget + 1)]
    expected = sum(chances[won] * (budget - won) for won in range(1, budget))
    assert knapsack_value(budget, rate) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=5), st.integers(0, 3), st.integers(0, 8), st.integers(0, 50))
def test_property_16_sum_bounds_and_order_of_values(rates, low, room, extra):
    high, total = low + room, len(rates) * low + extra
    counts = {m: knapsack_allocate(rates, total, low=low, high=high, method=m) for m in ("greedy", "dp")}
    for found in counts.values():
        assert sum(found) == min(total, len(rates) * high)
        assert all(low <= one <= high for one in found)
    greedy, exact = (total_value(counts[m], rates) for m in ("greedy", "dp"))
    assert exact >= greedy - 1e-9
    assert greedy >= total_value([low] * len(rates), rates) - 1e-9


@pytest.mark.parametrize("method", ["greedy", "dp"])
def test_property_16_permuting_prompts_permutes_counts(method):
    rng = np.random.default_rng(16)
    for _ in range(30):
        rates = rng.random(int(rng.integers(2, 7)))
        order = rng.permutation(len(rates))
        counts = knapsack_allocate(rates, 60, low=2, high=20, method=method)
        moved = knapsack_allocate(rates[order], 60, low=2, high=20, method=method)
        assert moved == [counts[position] for position in order]


def test_property_16_greedy_is_not_optimal():
    rates = [0.02, 0.5]
    greedy = knapsack_allocate(rates, 40, low=2, high=128)
    exact = knapsack_allocate(rates, 40, low=2, high=128, method="dp")
    assert (greedy, exact) == ([2, 38], [38, 2])
    assert total_value(greedy, rates) == pytest.approx(19.04, abs=5e-3)
    assert total_value(exact, rates) == pytest.approx(20.11, abs=5e-3)


def test_property_16_greedy_is_all_or_nothing_on_a_large_batch():
    rates = (np.arange(64) + 0.5) / 64
    counts = np.array(knapsack_allocate(rates, 1024, low=2, high=128))
    assert ((counts > 2).sum(), (counts == 128).sum()) == (14, 6)
    mixed = [float(np.mean(1 - rates**size - (1 - rates) ** size)) for size in (counts, np.full(64, 16))]
    assert mixed == pytest.approx([0.45, 0.88], abs=5e-3)


def test_checklist_13_bounds_greedy_default_dp_and_error_when_infeasible():
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
