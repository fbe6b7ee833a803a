"""Items 22-24 of the conformance checklist in memocr.md, section 8."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import MemocrCredit, memocr_advantages
from memagent_training.grpo.loss import policy_loss
from memagent_training.grpo.packing import pack
from memagent_training.grpo.rollout import Rollout, Segment

STD, AUG_M, AUG_Q = (1, 0, 1, 0), (1, 0, 0, 0), (0, 1, 1, 1)


def rollout(place: int, rewards: tuple[float, float, float], *, drafts: int = 2, length: int = 3) -> Rollout:
    roles = ["draft"] * drafts + ["std", "augM", "augQ"]
    return Rollout(
        id=str(place),
        group_id="g",
        prompt_id="p",
        segments=[Segment(prompt_ids=[1], ids=[1] * length, role=role) for role in roles],
        rewards=dict(zip(("std", "augM", "augQ"), map(float, rewards), strict=True)),
    )


def test_checklist_22_drafts_get_the_weighted_mean_and_readings_their_own() -> None:
    found = memocr_advantages(STD, AUG_M, AUG_Q)
    assert found.drafting == pytest.approx([0.4, -0.3, 0.2, -0.3], abs=1e-12)
    assert found.std == pytest.approx([0.5, -0.5, 0.5, -0.5])  # no division by the deviation
    assert found.aug_m == pytest.approx([0.525, -0.175, -0.175, -0.175])
    assert found.aug_q == pytest.approx([-0.225, 0.075, 0.075, 0.075])

    group = [rollout(i, one, drafts=1 + i % 3) for i, one in enumerate(zip(STD, AUG_M, AUG_Q, strict=True))]
    tokens = MemocrCredit().assign([group], baseline=GroupMean(scale="none"), priors=[None])[0]
    for i, (one, segments) in enumerate(zip(group, tokens, strict=True)):
        for segment, got in zip(one.segments, segments, strict=True):
            assert got.tolist() == [found.of(segment.role)[i]] * 3  # the same on all tokens, and on all drafts


def test_checklist_23_equal_rewards_give_zero_everywhere() -> None:
    group = [rollout(i, (1, 0.1, 0.3)) for i in range(3)]
    tokens = MemocrCredit().assign([group], baseline=GroupMean(scale="none"), priors=[None])

    assert all(not segment.any() for one in tokens for segments in one for segment in segments)
    found = memocr_advantages([1] * 3, [0.1] * 3, [0.3] * 3)
    assert not np.concatenate([found.drafting, found.std, found.aug_m, found.aug_q]).any()


@pytest.mark.parametrize("drafts", [1, 4])
def test_checklist_24_a_token_mean_over_conversations_in_a_fixed_number_of_steps(drafts: int) -> None:
    group = [rollout(i, one, drafts=drafts, length=2 + i) for i, one in enumerate(zip(STD, AUG_M, AUG_Q, strict=True))]
    credit = MemocrCredit().assign([group], baseline=GroupMean(scale="none"), priors=[None])[0]
    rows = [row for segments in credit for row in segments]  # one row a conversation
    mask, advantages = (torch.zeros(len(rows), 5, dtype=torch.float64) for _ in range(2))
    for place, row in enumerate(rows):
        mask[place, : len(row)] = 1
        advantages[place, : len(row)] = torch.from_numpy(row)

    loss = policy_loss(torch.zeros_like(mask), None, advantages, mask).loss.item()

    assert loss == pytest.approx(-np.concatenate(rows).mean(), abs=1e-12)
    packing = pack([(1, len(row)) for row in rows], micro_batches=2)
    assert len(packing.bins[0]) == 2  # whatever the number of drafts
