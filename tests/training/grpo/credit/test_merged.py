"""Both horizons in one scalar."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.credit_rollouts import rollout, segment

from memagent.errors import ConfigError
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import (
    MergedCredit,
    merged_advantages,
    merged_turn_advantages,
    turn_variance_share,
)
from memagent_training.grpo.judge import Judge


def test_merged_by_hand() -> None:
    root = 0.5**0.5
    assert merged_advantages([1, 0], [[0, -1], [-3]], c_session=2.0, eps=0.0) == [
        pytest.approx([root, root]),
        pytest.approx([-root]),
    ]
    assert merged_advantages([1.0], [[5.0, 1.0]]) == [[0.0, 0.0]]
    assert merged_advantages([], []) == []


def test_merged_turn_by_hand() -> None:
    got = merged_turn_advantages([1, 0], [[1, 0], [0]], eps=0.0)  # returns 2, 1 and 0
    assert got == [pytest.approx([1.0, 0.0]), pytest.approx([-1.0])]
    assert merged_turn_advantages([1.0, 0.0], [[], []]) == [[], []]
    assert merged_turn_advantages([], []) == []


def test_merged_part_equals_the_function() -> None:
    sessions, turns = [1.0, 0.0, 1.0], [[0.0, -1.0], [-1.0, -1.0], [-2.0]]
    group = [rollout(segments=[segment(1)], turns=own, session=r) for r, own in zip(sessions, turns, strict=True)]
    found = MergedCredit(c_session=10.0, c_turn=0.1).assign([group], judge=Judge(GroupMean()))[0]

    expected = merged_advantages(sessions, turns, c_session=10.0, c_turn=0.1)
    assert [segments[0][0] for segments in found] == pytest.approx([one[0] for one in expected], abs=1e-12)
    for scales in ({"c_session": -1.0}, {"c_session": 0.0, "c_turn": 0.0}, {"c_turn": float("inf")}):
        with pytest.raises(ConfigError, match="`c_session` and `c_turn`"):
            MergedCredit(**scales)


def test_the_share_of_turns_in_a_merged_advantage_follows_the_scales() -> None:
    sessions, turns = [1.0, 0.0, 1.0, 0.0], [[1.0], [1.0], [0.0], [0.0]]

    assert turn_variance_share(sessions, turns) == pytest.approx(0.5)
    assert turn_variance_share(sessions, turns, c_session=10.0, c_turn=0.1) == pytest.approx(1e-4 / (1 + 1e-4))
    assert turn_variance_share([1.0, 1.0], [[0.0], [0.0]]) == 0.0
    assert turn_variance_share([1.0], [[0.0]]) == 0.0


TURNS = [[-1.0, 0.0, 0.0], [0.0, 0.0], [0.0, -1.0, -2.0], [-1.0, -1.0]]


def flat(advantages: list[list[float]]) -> np.ndarray:
    return np.array([value for session in advantages for value in session])


def test_merged_does_depend_on_it() -> None:
    small, large = merged_advantages([1, 0, 0, 1], TURNS), merged_advantages([1000, 0, 0, 1000], TURNS)

    assert np.abs(flat(small) - flat(large)).max() > 0.1
