"""MemOCR's credit: drafts get the weighted mean of three advantages, each reading its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.credit_rollouts import rollout, segment, values
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import (
    MemocrCredit,
    memocr_advantages,
)
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.loss import policy_loss
from memagent_training.grpo.packing import pack
from memagent_training.grpo.rollout import Rollout, Segment

PLAIN = GroupMean(scale="none")


def test_memocr_without_scaled_readings_and_with_a_lone_rollout() -> None:
    plain = memocr_advantages([1, 0], [1, 0], [0, 1], weights=(1.0, 0.5, 0.5), scale_reading=False)
    assert plain.aug_m.tolist() == [0.5, -0.5]
    assert plain.aug_q.tolist() == [-0.5, 0.5]
    assert plain.drafting.tolist() == [0.25, -0.25]

    lone = memocr_advantages([1.0], [1.0], [0.0])
    assert lone.drafting == pytest.approx([0.85])
    assert (lone.std.tolist(), lone.aug_m.tolist(), lone.aug_q.tolist()) == ([1.0], [0.7], [0.0])
    assert memocr_advantages([], [], []).drafting.shape == (0,)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 3), min_size=1, max_size=6), st.booleans())
def test_memocr_part_equals_the_function(rewards: list[tuple[float, float, float]], scale: bool) -> None:
    roles = ("draft", "std", "augM", "augQ")
    group = [rollout(segments=[segment(1, role=role) for role in roles], std=s, augM=m, augQ=q) for s, m, q in rewards]
    weights = (0.5, 1.0, 0.25)
    found = MemocrCredit(weights=weights, scale_reading=scale).assign([group], judge=Judge(PLAIN))[0]
    std, aug_m, aug_q = zip(*rewards, strict=True)
    expected = memocr_advantages(std, aug_m, aug_q, weights=weights, scale_reading=scale)

    for i, segments in enumerate(found):
        assert [one[0] for one in segments] == [expected.of(role)[i] for role in roles]


def test_memocr_needs_the_rewards_that_have_weight() -> None:
    roles = ("draft", "augM")
    lacking = [rollout(segments=[segment(1, role=role) for role in roles], std=s, augQ=0.0) for s in (1.0, 0.0)]
    with pytest.raises(InputError, match="no reward `augM`"):
        MemocrCredit().assign([lacking], judge=Judge(PLAIN))

    group = [rollout(segments=[segment(1, role=role) for role in ("draft", "augQ")], std=s, augM=0.0) for s in (1.0, 0.0)]
    off = MemocrCredit(weights=(1.0, 1.0, 0.0), scale_reading=False).assign([group], judge=Judge(PLAIN))
    assert values(off) == [[[[0.25], [0.0]], [[-0.25], [0.0]]]]


def test_a_page_without_a_detail_question_is_left_out_of_that_comparison_alone() -> None:
    def one(std: float, detail: float | None) -> Rollout:
        segments = [segment(1, role=role) for role in ("draft", "std", "augM", *(["augQ"] if detail is not None else []))]
        return rollout(segments=segments, std=std, augM=0.0, **({} if detail is None else {"augQ": detail}))

    groups = [[one(1.0, 1.0), one(0.0, None), one(0.0, 0.0)], [one(1.0, None), one(0.0, None)]]
    found = values(MemocrCredit(weights=(1.0, 0.0, 1.0)).assign(groups, judge=Judge(PLAIN)))

    detail = [0.5, 0.0, -0.5]  # against the mean of the two that were asked
    std = [2 / 3, -1 / 3, -1 / 3]
    assert [rollout[0][0] for rollout in found[0]] == pytest.approx([(s + d) / 2 for s, d in zip(std, detail, strict=True)])
    assert [found[0][0][3][0], found[0][2][3][0]] == [0.5, -0.5]
    assert [rollout[0][0] for rollout in found[1]] == [0.25, -0.25]
    with pytest.raises(InputError, match="role `answer`"):
        MemocrCredit().assign([[rollout(std=1.0, augM=1.0, augQ=1.0)]], judge=Judge(PLAIN))


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (1.0, -0.1, 0.3), (1.0, 0.7), (1.0, float("nan"), 0.3)])
def test_memocr_refuses_impossible_weights(weights: Any) -> None:
    with pytest.raises(ConfigError, match="`weights` is"):
        MemocrCredit(weights=weights)
    with pytest.raises(InputError, match="`weights` is"):
        memocr_advantages([1], [1], [1], weights=weights)


def test_memocr_refuses_rewards_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"\[2, 1, 1\] rewards"):
        memocr_advantages([1, 0], [1], [1])
    with pytest.raises(InputError, match="finite"):
        memocr_advantages([float("nan")], [1], [1])


STD, AUG_M, AUG_Q = (1, 0, 1, 0), (1, 0, 0, 0), (0, 1, 1, 1)


def rollout_2(place: int, rewards: tuple[float, float, float], *, drafts: int = 2, length: int = 3) -> Rollout:
    roles = ["draft"] * drafts + ["std", "augM", "augQ"]
    return Rollout(
        id=str(place),
        group_id="g",
        prompt_id="p",
        segments=[Segment(prompt_ids=[1], ids=[1] * length, role=role) for role in roles],
        rewards=dict(zip(("std", "augM", "augQ"), map(float, rewards), strict=True)),
    )


def test_drafts_get_the_weighted_mean_and_readings_their_own() -> None:
    found = memocr_advantages(STD, AUG_M, AUG_Q)
    assert found.drafting == pytest.approx([0.4, -0.3, 0.2, -0.3], abs=1e-12)
    assert found.std == pytest.approx([0.5, -0.5, 0.5, -0.5])  # no division by the deviation
    assert found.aug_m == pytest.approx([0.525, -0.175, -0.175, -0.175])
    assert found.aug_q == pytest.approx([-0.225, 0.075, 0.075, 0.075])

    group = [rollout_2(i, one, drafts=1 + i % 3) for i, one in enumerate(zip(STD, AUG_M, AUG_Q, strict=True))]
    tokens = MemocrCredit().assign([group], judge=Judge(GroupMean(scale="none")))[0]
    for i, (one, segments) in enumerate(zip(group, tokens, strict=True)):
        for part, got in zip(one.segments, segments, strict=True):
            assert got.tolist() == [found.of(part.role)[i]] * 3  # the same on all tokens, and on all drafts


def test_equal_rewards_give_zero_everywhere() -> None:
    group = [rollout_2(i, (1, 0.1, 0.3)) for i in range(3)]
    tokens = MemocrCredit().assign([group], judge=Judge(GroupMean(scale="none")))

    assert all(not segment.any() for one in tokens for segments in one for segment in segments)
    found = memocr_advantages([1] * 3, [0.1] * 3, [0.3] * 3)
    assert not np.concatenate([found.drafting, found.std, found.aug_m, found.aug_q]).any()


@pytest.mark.parametrize("drafts", [1, 4])
def test_a_token_mean_over_conversations_in_a_fixed_number_of_steps(drafts: int) -> None:
    group = [rollout_2(i, one, drafts=drafts, length=2 + i) for i, one in enumerate(zip(STD, AUG_M, AUG_Q, strict=True))]
    credit = MemocrCredit().assign([group], judge=Judge(GroupMean(scale="none")))[0]
    rows = [row for segments in credit for row in segments]  # one row a conversation
    mask, advantages = (torch.zeros(len(rows), 5, dtype=torch.float64) for _ in range(2))
    for place, row in enumerate(rows):
        mask[place, : len(row)] = 1
        advantages[place, : len(row)] = torch.from_numpy(row)

    loss = policy_loss(torch.zeros_like(mask), None, advantages, mask).loss.item()

    assert loss == pytest.approx(-np.concatenate(rows).mean(), abs=1e-12)
    packing = pack([(1, len(row)) for row in rows], micro_batches=2)
    assert len(packing.parts[0]) == 2  # whatever the number of drafts
