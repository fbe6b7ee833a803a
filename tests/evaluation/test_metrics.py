"""Numbers with their uncertainty."""

from __future__ import annotations

import random

import pytest

from memagent.evaluation.metrics import by_cluster, mean_interval, paired_interval


def test_a_cluster_counts_once() -> None:
    values = [("a", 1.0), ("b", 0.0), ("a", 0.0), ("a", 1.0), ("a", 1.0)]
    assert by_cluster(values) == {"a": 0.75, "b": 0.0}
    assert by_cluster([]) == {}


def test_copies_of_a_question_do_not_narrow_its_interval() -> None:
    once = [(str(number), float(number % 3 == 0)) for number in range(60)]
    five = [pair for pair in once for _ in range(5)]
    assert mean_interval(list(by_cluster(five).values())) == mean_interval(list(by_cluster(once).values()))
    naive = mean_interval([value for _, value in five])
    clustered = mean_interval(list(by_cluster(five).values()))
    assert naive.low is not None
    assert naive.high is not None
    assert clustered.low is not None
    assert clustered.high is not None
    assert naive.high - naive.low < 0.6 * (clustered.high - clustered.low)


def test_pairing_takes_out_what_both_sides_share() -> None:
    draw = random.Random(0)
    hard = {str(number): draw.random() for number in range(100)}
    better = {name: value + 0.05 + 0.01 * draw.random() for name, value in hard.items()}
    found = paired_interval(better, hard)
    assert found.value == pytest.approx(0.055, abs=0.002)
    assert found.n == 100
    assert found.low is not None
    assert found.high is not None
    assert 0.05 < found.low < found.value < found.high < 0.06
    assert found == paired_interval(better, hard)
    assert paired_interval(hard, better).value == pytest.approx(-found.value)


def test_pairs_are_matched_by_name_not_by_place() -> None:
    assert paired_interval({"a": 1.0, "b": 0.0}, {"b": 0.0, "a": 1.0})[:3] == (0.0, 0.0, 0.0)


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="2 differ"):
        paired_interval({"a": 1.0, "b": 0.0}, {"a": 1.0, "c": 0.0})
    with pytest.raises(ValueError, match="no values"):
        paired_interval({}, {})
