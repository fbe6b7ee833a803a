"""HIAN: two horizons, each on its own scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.credit_rollouts import rollout, segment, values
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import (
    HianCredit,
    OutcomeCredit,
    hian_advantages,
    hian_batch,
    turn_advantages,
)
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.rollout import Rollout, Segment

PLAIN = GroupMean(scale="none")


def test_hian_by_hand() -> None:
    advantages = hian_advantages([1, 0], [[0, -1], [-1, -1]], w_turn=0.5, eps=0.0)

    root = 0.5**0.5  # the z-score of a pair
    assert advantages[0] == pytest.approx([root + 0.5 * root, root])
    assert advantages[1] == pytest.approx([-root - 0.5 * root, -root])


def test_hian_takes_arrays_and_sessions_without_turns() -> None:
    advantages = hian_advantages(np.array([1.0, 0.0]), [np.array([0.0, 1.0]), np.array([])])
    assert [len(one) for one in advantages] == [2, 0]
    assert hian_advantages([], []) == []


def test_hian_discounts_later_turns_when_asked() -> None:
    whole = hian_advantages([0, 0], [[0, 0, 4], [0, 0, 0]], turn_gamma=0.5, eps=0.0)
    root = 0.5**0.5
    assert whole == [pytest.approx([root] * 3), pytest.approx([-root] * 3)]  # returns (1, 2, 4) against 0
    assert hian_advantages([0, 0], [[0, 0, 4], [0, 0, 0]], eps=0.0)[0] == pytest.approx([0, 0, root])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.lists(st.floats(-5, 5), max_size=4)), min_size=1, max_size=6),
    st.sampled_from(["position", "group"]),
)
def test_hian_equals_a_brute_force(sessions: list[tuple[float, list[float]]], pool: Any) -> None:
    rewards, turns = [r for r, _ in sessions], [t for _, t in sessions]

    def score(value: float, others: list[float]) -> float:
        if len(others) < 2 or len(set(others)) == 1:
            return 0.0
        mean = sum(others) / len(others)
        deviation = (sum((one - mean) ** 2 for one in others) / (len(others) - 1)) ** 0.5
        return 0.0 if deviation <= 1e-8 else (value - mean) / (deviation + 1e-6)

    for i, (r, own) in enumerate(sessions):
        got = hian_advantages(rewards, turns, pool=pool, w_session=0.7, w_turn=1.3)[i]
        for t, value in enumerate(own):
            rivals = [one[t] for one in turns if len(one) > t] if pool == "position" else [x for one in turns for x in one]
            turn = 0.0 if len(sessions) == 1 else min(5.0, max(-5.0, score(value, rivals)))
            assert got[t] == pytest.approx(0.7 * score(r, rewards) + 1.3 * turn, abs=1e-6)


@pytest.mark.parametrize("pool", ["position", "group", "batch"])
def test_hian_ignores_scales_and_constants(pool: Any) -> None:
    sessions, turns = [1.0, 0.0, 3.0], [[0.0, -1.0], [-1.0], [2.0, 0.0]]
    plain = hian_advantages(sessions, turns, pool=pool)
    for changed in (
        hian_advantages([7 * r for r in sessions], turns, pool=pool),
        hian_advantages([r + 3 for r in sessions], turns, pool=pool),
        hian_advantages(sessions, [[7 * r for r in one] for one in turns], pool=pool),
        hian_advantages(sessions, [[r + 3 for r in one] for one in turns], pool=pool),
    ):
        assert changed == [pytest.approx(one, abs=1e-5) for one in plain]


def test_hian_refuses_what_it_cannot_use() -> None:
    for options in ({"w_session": -1.0}, {"w_turn": float("nan")}, {"pool": "all"}, {"turn_gamma": 1.5}, {"clip": 0.0}):
        name = next(iter(options))
        with pytest.raises(InputError, match=f"`{name}` is"):
            hian_advantages([1, 0], [[1], [0]], **options)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"`{name}` is"):
            HianCredit(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="both 0"):
        HianCredit(w_session=0.0, w_turn=0.0)
    with pytest.raises(InputError, match="2 session rewards"):
        hian_advantages([1, 0], [[1]])
    with pytest.raises(InputError, match="finite"):
        hian_advantages([1, 0], [[1], [float("nan")]])


def test_hian_part_counts_segments_as_turns_when_there_are_several() -> None:
    group = [
        rollout(segments=[segment(1), segment(1)], turns=turns, session=r)
        for r, turns in [(1.0, [0.0, 1.0]), (0.0, [1.0, 0.0])]
    ]
    found = HianCredit().assign([group], judge=Judge(GroupMean()))[0]

    expected = hian_advantages([1, 0], [[0, 1], [1, 0]])
    assert [[one[0] for one in segments] for segments in found] == expected


def test_hian_part_gives_the_session_term_alone_where_no_turn_is_rewarded() -> None:
    spoken = segment(3, turn_ids=[0, -1, 0])
    group = [rollout(segments=[spoken], turns=turns, session=r) for r, turns in [(1.0, [1.0]), (0.0, [0.0]), (0.5, None)]]
    found = HianCredit().assign([group], judge=Judge(GroupMean()))[0]

    session = GroupMean().advantages([[1.0, 0.0, 0.5]], priors=[None])[0]
    assert found[0][0][1] == session[0]
    assert found[0][0][0] > session[0]
    assert found[2][0].tolist() == [session[2]] * 3


def test_hian_part_zeroes_the_session_term_of_a_lone_session() -> None:
    lone = [rollout(turns=[1.0], session=1.0)]
    assert values(HianCredit().assign([lone], judge=Judge(PLAIN))) == [[[[0.0, 0.0]]]]


def test_hian_part_in_turn_mode_needs_no_session_reward() -> None:
    group = [rollout(turns=[r]) for r in (1.0, 0.0)]
    found = HianCredit(w_session=0.0).assign([group], judge=Judge(PLAIN))[0]
    assert [segments[0][0] for segments in found] == pytest.approx([0.5**0.5, -(0.5**0.5)], abs=1e-5)


def test_hian_part_refuses_trained_tokens_of_unrewarded_turns() -> None:
    group = [rollout(segments=[segment(2, turn_ids=[0, 1])], turns=[1.0], session=1.0)]
    with pytest.raises(InputError, match=r"segment 0 trains tokens of turns 0 to 1"):
        HianCredit().assign([group], judge=Judge(PLAIN))
    masked = [rollout(segments=[segment(2, turn_ids=[0, 1], mask=[1, 0])], turns=[1.0], session=1.0)]
    assert values(HianCredit().assign([masked], judge=Judge(PLAIN))) == [[[[0.0, 0.0]]]]


TURNS = [[-1.0, 0.0, 0.0], [0.0, 0.0], [0.0, -1.0, -2.0], [-1.0, -1.0]]


RAGGED = st.lists(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.2]), max_size=5), min_size=1, max_size=6)


def flat(advantages: list[list[float]]) -> np.ndarray:
    return np.array([value for session in advantages for value in session])


@pytest.mark.parametrize("pool", ["position", "group", "batch"])
def test_a_constant_horizon_leaves_the_other(pool: str) -> None:
    fused = hian_advantages([1, 1, 1, 1], TURNS, w_turn=0.5, pool=pool)
    turns = turn_advantages([TURNS], pool=pool)[0]
    assert fused == [(0.5 * one).tolist() for one in turns]

    fused = hian_advantages([1, 0, 0, 1], [[-1.0] * len(one) for one in TURNS], w_session=2.0, pool=pool)
    session = 0.5 / (np.std([1, 0, 0, 1], ddof=1) + 1e-6)
    expected = [[2 * session * sign] * len(one) for sign, one in zip([1, -1, -1, 1], TURNS, strict=True)]
    assert flat(fused) == pytest.approx(flat(expected), abs=1e-12)


@settings(deadline=None)
@given(RAGGED, st.randoms())
def test_advantages_sum_to_zero_over_their_pool(turns: list[list[float]], rng) -> None:
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
def test_zero_variance_gives_exactly_zero(pool: str) -> None:
    assert hian_advantages([1.0], [[0.0, -1.0, 3.0]], pool=pool) == [[0.0, 0.0, 0.0]]  # G = 1
    assert hian_advantages([0.1] * 3, [[-0.1] * 2] * 3, pool=pool) == [[0.0, 0.0]] * 3
    assert hian_advantages([1.0, 1.0], [[0.3], [0.3]], pool=pool) == [[0.0], [0.0]]
    assert hian_advantages([1e9 + 0.1] * 3, [[1e9 + 0.1]] * 3, pool=pool) == [[0.0]] * 3
    assert hian_advantages([0.0, 1e-9], [[0.0], [1e-9]], pool=pool) == [[0.0], [0.0]]  # below `floor`


def test_a_turn_that_one_session_reaches_contributes_nothing() -> None:
    advantages = hian_advantages([1, 0], [[0.0, -1.0, 5.0], [-1.0, 0.0]], w_session=0)

    assert advantages[0][2] == 0.0
    assert advantages[0][0] > 0 > advantages[1][0]


def test_tokens_share_the_advantage_of_their_turn() -> None:
    dialogue = Segment(prompt_ids=[1], ids=[2, 3, 4, 5, 6, 7], mask=[1, 1, 0, 0, 1, 1], turn_ids=[0, 0, -1, -1, 1, 1])
    group = [
        Rollout(id=str(i), group_id="g", prompt_id="p", segments=[dialogue], rewards={"session": r}, turn_rewards=turns)
        for i, (r, turns) in enumerate([(1.0, [0.0, -1.0]), (0.0, [-1.0, 0.0])])
    ]

    tokens = HianCredit().assign([group], judge=Judge(GroupMean(eps=1e-6)))[0]

    expected = hian_advantages([1.0, 0.0], [[0.0, -1.0], [-1.0, 0.0]])
    for (got,), (first, second) in zip(tokens, expected, strict=True):
        assert got.tolist() == [first, first, 0.0, 0.0, second, second]
        assert first != second


def test_session_mode_is_plain_grpo_bit_for_bit() -> None:
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
    judge = Judge(GroupMean())

    ours = HianCredit(w_turn=0.0).assign(groups, judge=judge)
    plain = OutcomeCredit(key="session").assign(groups, judge=judge)

    for group, other in zip(ours, plain, strict=True):
        for found, same in zip(group, other, strict=True):
            assert [one.tobytes() for one in found] == [one.tobytes() for one in same]


def test_the_clip_comes_after_normalisation_and_before_fusion() -> None:
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
