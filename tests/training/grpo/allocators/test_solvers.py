"""The solvers: greedy, exact, and the even split."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.slow_allocation import brute_force, worth

from memagent_training.grpo.allocators.solvers import dp_allocate, even_split, greedy_allocate


@pytest.mark.parametrize("seed", range(20))
def test_dp_equals_brute_force_on_any_table(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rng.integers(1, 5), rng.integers(1, 6)))
    most = len(values) * (values.shape[1] - 1)
    for units in range(most + 3):
        counts = dp_allocate(values, units)
        assert sum(counts) == min(units, most)
        assert worth(values, counts) == pytest.approx(brute_force(values, min(units, most)), abs=1e-12)


def test_both_solvers_give_equal_offers_to_the_lowest_row():
    values = np.arange(4.0) * np.ones((3, 1))
    assert greedy_allocate(np.diff(values, axis=1), 4) == [3, 1, 0]
    assert dp_allocate(values, 4) == [3, 1, 0]


def test_greedy_takes_the_next_gain_only():
    assert greedy_allocate(np.array([[1.0, 9.0, 9.0], [2.0, 2.0, 2.0]]), 3) == [0, 3]
    assert dp_allocate(np.array([[0.0, 1.0, 10.0, 19.0], [0.0, 2.0, 4.0, 6.0]]), 3) == [3, 0]


def test_solvers_take_no_rows_no_columns_and_no_units():
    assert greedy_allocate(np.zeros((0, 3)), 2) == dp_allocate(np.zeros((0, 4)), 2) == []
    assert greedy_allocate(np.zeros((2, 0)), 2) == dp_allocate(np.zeros((2, 1)), 2) == [0, 0]
    assert greedy_allocate(np.ones((2, 3)), 0) == dp_allocate(np.ones((2, 4)), 0) == [0, 0]


def test_even_split_gives_the_rest_to_the_first():
    assert even_split(17, 5) == [4, 4, 3, 3, 3]
    assert even_split(17, 5, high=3) == [3] * 5
    assert even_split(5, 0) == []
