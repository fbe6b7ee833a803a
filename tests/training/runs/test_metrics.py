"""The numbers of the log, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from memagent_training.grpo.credit import MemocrCredit
from memagent_training.grpo.packing import pack
from memagent_training.grpo.rollout import Rollout, Segment
from memagent_training.rows.batch import TrainingRow
from memagent_training.runs.metrics import group_metrics, packing_metrics


def rollout(reward: dict[str, float], *lengths: int, correct: bool | None = None, valid: bool = True) -> Rollout:
    segments = [Segment(prompt_ids=[1], ids=[2] * length, mask=[1] * (length - 1) + [0]) for length in lengths]
    return Rollout(id="r", group_id="g", prompt_id="p", segments=segments, rewards=reward, correct=correct, valid=valid)


def test_ragged_groups_by_hand() -> None:
    groups = [
        [
            rollout({"std": 1.0, "augM": 0.5}, 3, 4, correct=True),
            rollout({"std": 0.0}, 2, correct=False),
            rollout({"std": 0.0}, 1, valid=False),
        ],
        [rollout({"std": 0.5}, 5, correct=True)],
    ]

    found = group_metrics(groups, ["std", "augM"])

    assert found == pytest.approx(
        {
            "reward": (1.5 + 0 + 0 + 0.5) / 4,
            "reward_std": np.std([1.5, 0, 0, 0.5]),
            "reward_by_prompt": (0.5 + 0.5) / 2,
            "rollouts/total": 4,
            "rollouts/mean": 2,
            "rollouts/min": 1,
            "rollouts/max": 3,
            "rollouts/dead_share": 1 / 4,  # a group of one has no contrast
            "rollouts/valid": 3 / 4,
            "completions/mean_length": (2 + 3 + 1 + 0 + 4) / 4,
            "rewards/std": 1.5 / 4,
            "rewards/augM": 0.5,  # over those that have it
            "correct": 2 / 3,
        }
    )


def test_groups_whose_rewards_are_all_equal_are_dead() -> None:
    groups = [[rollout({"answer": 1.0}, 2)] * 3, [rollout({"answer": 0.0}, 2), rollout({"answer": 1.0}, 2)]]

    assert group_metrics(groups, ["answer"])["rollouts/dead_share"] == pytest.approx(3 / 5)


def test_unchecked_rollouts_have_no_share_of_correct_ones() -> None:
    assert "correct" not in group_metrics([[rollout({"answer": 1.0}, 2)]], ["answer"])


def test_no_rollouts() -> None:
    assert group_metrics([], ["answer"]) == {"rollouts/total": 0.0}


def test_packing_by_hand() -> None:
    rows = [
        TrainingRow(Segment(prompt_ids=[1] * before, ids=[2] * said), np.zeros(said), "r")
        for before, said in ((4, 2), (1, 3), (2, 2))
    ]

    found = packing_metrics(pack([(4, 2), (1, 3), (2, 2)]), [*rows, *rows[:2]], rows)

    assert found == pytest.approx(
        {
            "rows/total": 5,
            "rows/without_pass": 2,
            "rows/tokens": 21,
            "rows/padded_share": 1 - 14 / 21,
            "rows/max_tokens": 21,
            "rows/fillers": 0,
        }
    )


def test_memocrs_reward_in_the_log_is_the_weighted_mean_of_its_three() -> None:
    groups = [[rollout({"std": 1.0, "augM": 0.0, "augQ": 1.0}, 3), rollout({"std": 0.0, "augM": 1.0}, 3)]]
    found = group_metrics(groups, ["std", "augM", "augQ"], total=MemocrCredit().total)
    assert found["reward"] == pytest.approx((1.3 / 2.0 + 0.7 / 1.7) / 2)
    assert found["rewards/augM"] == 0.5
