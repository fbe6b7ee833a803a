"""Items 1-7, 12 and 13 of the conformance checklist in duca.md, section 13."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import (
    HianCredit,
    OutcomeCredit,
    hian_advantages,
    hian_batch,
    merged_advantages,
    turn_advantages,
)
from memagent_training.grpo.rollout import Rollout, Segment

TURNS = [[-1.0, 0.0, 0.0], [0.0, 0.0], [0.0, -1.0, -2.0], [-1.0, -1.0]]
RAGGED = st.lists(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.2]), max_size=5), min_size=1, max_size=6)


def flat(advantages: list[list[float]]) -> np.ndarray:
    return np.array([value for session in advantages for value in session])


@pytest.mark.parametrize("pool", ["position", "group", "batch"])
def test_checklist_01_scale_of_the_session_reward_does_not_matter(pool: str) -> None:
    small, large = hian_advantages([1, 0, 0, 1], TURNS, pool=pool), hian_advantages([1000, 0, 0, 1000], TURNS, pool=pool)

    assert np.abs(flat(small) - flat(large)).max() < 1e-4


def test_checklist_02_merged_does_depend_on_it() -> None:
    small, large = merged_advantages([1, 0, 0, 1], TURNS), merged_advantages([1000, 0, 0, 1000], TURNS)

    assert np.abs(flat(small) - flat(large)).max() > 0.1


@pytest.mark.parametrize("pool", ["position", "group", "batch"])
def test_checklist_03_a_constant_horizon_leaves_the_other(pool: str) -> None:
    fused = hian_advantages([1, 1, 1, 1], TURNS, w_turn=0.5, pool=pool)
    turns = turn_advantages([TURNS], pool=pool)[0]
    assert fused == [(0.5 * one).tolist() for one in turns]

    fused = hian_advantages([1, 0, 0, 1], [[-1.0] * len(one) for one in TURNS], w_session=2.0, pool=pool)
    session = 0.5 / (np.std([1, 0, 0, 1], ddof=1) + 1e-6)
    expected = [[2 * session * sign] * len(one) for sign, one in zip([1, -1, -1, 1], TURNS, strict=True)]
    assert flat(fused) == pytest.approx(flat(expected), abs=1e-12)


@settings(deadline=None)
@given(RAGGED, st.randoms())
def test_checklist_04_advantages_sum_to_zero_over_their_pool(turns: list[list[float]], rng) -> None:
    sessions = [float(rng.randint(0, 1)) for _ in turns]
    alone = hian_advantages(sessions, [[0.0]] * len(turns), w_turn=0)
    assert abs(flat(alone).sum()) < 1e-9

    by_position = turn_advantages([turns], pool="position", clip=None)[0]
    for turn in range(5):
        assert abs(sum(one[turn] for one in by_position if len(one) > turn)) < 1e-9
    by_group = turn_advantages([turns, turns], pool="group", clip=None)
    for group in by_group:
        assert abs(sum(one.sum() for one in group)) < 1e-9
    by_batch = turn_advantages([turns, [[3.0, 1.0]]], pool="batch", clip=None)
    assert abs(sum(one.sum() for group in by_batch for one in group)) < 1e-9


@pytest.mark.parametrize("pool", ["position", "group"])
def test_checklist_05_zero_variance_gives_exactly_zero(pool: str) -> None:
    assert hian_advantages([1.0], [[0.0, -1.0, 3.0]], pool=pool) == [[0.0, 0.0, 0.0]]  # G = 1
    assert hian_advantages([0.1] * 3, [[-0.1] * 2] * 3, pool=pool) == [[0.0, 0.0]] * 3
    assert hian_advantages([1.0, 1.0], [[0.3], [0.3]], pool=pool) == [[0.0], [0.0]]
    assert hian_advantages([1e9 + 0.1] * 3, [[1e9 + 0.1]] * 3, pool=pool) == [[0.0]] * 3
    assert hian_advantages([0.0, 1e-9], [[0.0], [1e-9]], pool=pool) == [[0.0], [0.0]]  # below `floor`


def test_checklist_06_a_turn_that_one_session_reaches_contributes_nothing() -> None:
    advantages = hian_advantages([1, 0], [[0.0, -1.0, 5.0], [-1.0, 0.0]], w_session=0)

    assert advantages[0][2] == 0.0
    assert advantages[0][0] > 0 > advantages[1][0]


def test_checklist_07_tokens_share_the_advantage_of_their_turn() -> None:
    dialogue = Segment(prompt_ids=[1], ids=[2, 3, 4, 5, 6, 7], mask=[1, 1, 0, 0, 1, 1], turn_ids=[0, 0, -1, -1, 1, 1])
    group = [
        Rollout(id=str(i), group_id="g", prompt_id="p", segments=[dialogue], rewards={"session": r}, turn_rewards=turns)
        for i, (r, turns) in enumerate([(1.0, [0.0, -1.0]), (0.0, [-1.0, 0.0])])
    ]

    tokens = HianCredit().assign([group], baseline=GroupMean(eps=1e-6), priors=[None])[0]

    expected = hian_advantages([1.0, 0.0], [[0.0, -1.0], [-1.0, 0.0]])
    for (got,), (first, second) in zip(tokens, expected, strict=True):
        assert got.tolist() == [first, first, 0.0, 0.0, second, second]
        assert first != second


def test_checklist_12_session_mode_is_plain_grpo_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    groups = [
        [
            Rollout(
                id=f"{g}-{i}",
                group_id=str(g),
                prompt_id=str(g),
                segments=[Segment(prompt_ids=[1], ids=[1] * 4, mask=[1, 0, 1, 1], turn_ids=[0, -1, 0, 1])],
                rewards={"session": float(rng.normal())},
                turn_rewards=rng.normal(size=2).tolist(),
            )
            for i in range(size)
        ]
        for g, size in enumerate([2, 5, 8, 3])
    ]
    baseline, priors = GroupMean(), [None] * 4

    ours = HianCredit(w_turn=0.0).assign(groups, baseline=baseline, priors=priors)
    plain = OutcomeCredit(key="session").assign(groups, baseline=baseline, priors=priors)

    for group, other in zip(ours, plain, strict=True):
        for rollout, same in zip(group, other, strict=True):
            assert [one.tobytes() for one in rollout] == [one.tobytes() for one in same]


def test_checklist_13_the_clip_comes_after_normalisation_and_before_fusion() -> None:
    sessions = [1.0] + [0.0] * 49
    turns = [[-1.0]] + [[0.0]] * 49  # z = -7 under the group pool
    free = hian_advantages(sessions, turns, pool="group", w_turn=2.0, clip=None)
    cut = hian_advantages(sessions, turns, pool="group", w_turn=2.0)
    session = hian_advantages(sessions, turns, w_turn=0)

    assert free[0][0] - session[0][0] == pytest.approx(-2 * 49 / 50**0.5, abs=1e-3)
    assert cut[0][0] == pytest.approx(session[0][0] - 2 * 5.0, abs=1e-12)  # 2 x 5: neither the sum nor 2 x z is cut
    assert cut[1:] == free[1:]


def test_batch_pool_normalises_over_groups_and_works_for_a_lone_session() -> None:
    (first,), (second,) = hian_batch([([1.0], [[0.0]]), ([0.0], [[-2.0]])], pool="batch")

    assert (first[0], second[0]) == pytest.approx((0.5**0.5, -(0.5**0.5)), abs=1e-5)
    assert hian_advantages([1.0], [[0.0, -2.0]], pool="batch")[0] == pytest.approx([0.5**0.5, -(0.5**0.5)], abs=1e-5)
