from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import (
    CREDITS,
    HianCredit,
    MemocrCredit,
    MergedCredit,
    OutcomeCredit,
    broadcast,
    hian_advantages,
    memocr_advantages,
    merged_advantages,
    merged_turn_advantages,
    turn_variance_share,
    weigh_by_prompt,
)
from memagent_training.grpo.rollout import Rollout, Segment

PLAIN = GroupMean(scale="none")


def segment(length: int = 2, **fields: Any) -> Segment:
    return Segment(prompt_ids=[1], ids=[1] * length, **fields)


def rollout(
    name: str = "r", *, segments: list[Segment] | None = None, turns: list[float] | None = None, **rewards: float
) -> Rollout:
    return Rollout(
        id=name,
        group_id="g",
        prompt_id="p",
        segments=[segment()] if segments is None else segments,
        rewards=rewards,
        turn_rewards=turns or (),
    )


def values(tokens: list[list[list[np.ndarray]]]) -> list[list[list[list[float]]]]:
    return [[[one.tolist() for one in segments] for segments in group] for group in tokens]


def test_every_part_is_in_the_table_under_its_name() -> None:
    assert {name: part.name for name, part in CREDITS.items()} == {name: name for name in CREDITS}
    assert set(CREDITS) == {"outcome", "memocr", "hian", "merged"}


def test_parts_say_which_rewards_they_need() -> None:
    assert OutcomeCredit().needs.rewards == ()
    assert OutcomeCredit(key="answer").needs.rewards == ("answer",)
    assert MemocrCredit(weights=(1.0, 0.7, 0.0)).needs.rewards == ("std", "augM")
    assert HianCredit(session_key="session").needs.rewards == MergedCredit(session_key="session").needs.rewards == ("session",)
    assert HianCredit(w_session=0.0, session_key="session").needs.rewards == HianCredit().needs.rewards == ()


@pytest.mark.parametrize("name", sorted(CREDITS))
def test_no_groups_and_empty_groups_pass_through(name: str) -> None:
    credit = CREDITS[name]()
    assert credit.assign([], baseline=PLAIN, priors=[]) == []
    assert credit.assign([[]], baseline=PLAIN, priors=[None]) == [[]]


def test_spread_gives_a_number_or_one_a_token_and_leaves_others_zero() -> None:
    masked = segment(3, mask=[1, 0, 1])
    assert broadcast(masked, 2.0).tolist() == [2.0, 0.0, 2.0]
    assert broadcast(masked, np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 0.0, 3.0]
    assert broadcast(segment(0), 1.0).shape == (0,)
    assert broadcast(segment(2), 1.0).dtype == np.float64


def test_outcome_copies_the_advantage_to_all_conversations() -> None:
    first = rollout("a", segments=[segment(2), segment(3, mask=[1, 0, 1])], answer=1.0, length=0.5)
    second = rollout("b", answer=0.0, length=0.5)

    assert values(OutcomeCredit().assign([[first, second]], baseline=PLAIN, priors=[None])) == [
        [[[0.5, 0.5], [0.5, 0.0, 0.5]], [[-0.5, -0.5]]]
    ]
    keyed = OutcomeCredit(key="length").assign([[first, second]], baseline=PLAIN, priors=[None])
    assert not any(one.any() for segments in keyed[0] for one in segments)
    with pytest.raises(InputError, match="no reward `style`"):
        OutcomeCredit(key="style").assign([[first, second]], baseline=PLAIN, priors=[None])


def test_weighing_by_prompt_lets_each_prompt_count_its_own_mean() -> None:
    groups = [[rollout(answer=1.0)], [rollout(answer=float(i)) for i in range(3)], []]
    tokens = OutcomeCredit().assign(groups, baseline=PLAIN, priors=[None] * 3)
    weighed = weigh_by_prompt(tokens, groups)

    assert values(weighed) == [[[[2.0, 2.0]]], [[[-2 / 3] * 2], [[0.0] * 2], [[2 / 3] * 2]], []]  # mean(k) = 2
    with pytest.raises(InputError, match="groups of"):
        weigh_by_prompt(tokens, groups[:2])
    assert weigh_by_prompt([], []) == []


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_weighing_gives_the_mean_over_prompts_of_means_over_rollouts(sizes: list[int]) -> None:
    rng = np.random.default_rng(len(sizes))
    groups = [[rollout(answer=float(rng.normal())) for _ in range(size)] for size in sizes]
    raw = [[[broadcast(segment(1), float(rng.normal()))] for _ in group] for group in groups]

    total = sum(one[0][0] for group in weigh_by_prompt(raw, groups) for one in group) / sum(sizes)

    assert total == pytest.approx(np.mean([np.mean([one[0][0] for one in group]) for group in raw]))
    if len(set(sizes)) == 1:
        assert values(weigh_by_prompt(raw, groups)) == values(raw)


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
    found = MemocrCredit(weights=weights, scale_reading=scale).assign([group], baseline=PLAIN, priors=[None])[0]
    std, aug_m, aug_q = zip(*rewards, strict=True)
    expected = memocr_advantages(std, aug_m, aug_q, weights=weights, scale_reading=scale)

    for i, segments in enumerate(found):
        assert [one[0] for one in segments] == [expected.of(role)[i] for role in roles]


def test_memocr_needs_the_rewards_that_have_weight() -> None:
    roles = ("draft", "augM")
    lacking = [rollout(segments=[segment(1, role=role) for role in roles], std=s, augQ=0.0) for s in (1.0, 0.0)]
    with pytest.raises(InputError, match="no reward `augM`"):
        MemocrCredit().assign([lacking], baseline=PLAIN, priors=[None])

    group = [rollout(segments=[segment(1, role=role) for role in ("draft", "augQ")], std=s, augM=0.0) for s in (1.0, 0.0)]
    off = MemocrCredit(weights=(1.0, 1.0, 0.0), scale_reading=False).assign([group], baseline=PLAIN, priors=[None])
    assert values(off) == [[[[0.25], [0.0]], [[-0.25], [0.0]]]]


def test_a_page_without_a_detail_question_is_left_out_of_that_comparison_alone() -> None:
    def one(std: float, detail: float | None) -> Rollout:
        segments = [segment(1, role=role) for role in ("draft", "std", "augM", *(["augQ"] if detail is not None else []))]
        return rollout(segments=segments, std=std, augM=0.0, **({} if detail is None else {"augQ": detail}))

    groups = [[one(1.0, 1.0), one(0.0, None), one(0.0, 0.0)], [one(1.0, None), one(0.0, None)]]
    found = values(MemocrCredit(weights=(1.0, 0.0, 1.0)).assign(groups, baseline=PLAIN, priors=[None, None]))

    detail = [0.5, 0.0, -0.5]  # against the mean of the two that were asked
    std = [2 / 3, -1 / 3, -1 / 3]
    assert [rollout[0][0] for rollout in found[0]] == pytest.approx([(s + d) / 2 for s, d in zip(std, detail, strict=True)])
    assert [found[0][0][3][0], found[0][2][3][0]] == [0.5, -0.5]
    assert [rollout[0][0] for rollout in found[1]] == [0.25, -0.25]
    with pytest.raises(InputError, match="role `answer`"):
        MemocrCredit().assign([[rollout(std=1.0, augM=1.0, augQ=1.0)]], baseline=PLAIN, priors=[None])


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
    found = HianCredit().assign([group], baseline=GroupMean(), priors=[None])[0]

    expected = hian_advantages([1, 0], [[0, 1], [1, 0]])
    assert [[one[0] for one in segments] for segments in found] == expected


def test_hian_part_gives_the_session_term_alone_where_no_turn_is_rewarded() -> None:
    spoken = segment(3, turn_ids=[0, -1, 0])
    group = [rollout(segments=[spoken], turns=turns, session=r) for r, turns in [(1.0, [1.0]), (0.0, [0.0]), (0.5, None)]]
    found = HianCredit().assign([group], baseline=GroupMean(), priors=[None])[0]

    session = GroupMean().advantages([[1.0, 0.0, 0.5]], priors=[None])[0]
    assert found[0][0][1] == session[0]
    assert found[0][0][0] > session[0]
    assert found[2][0].tolist() == [session[2]] * 3


def test_hian_part_zeroes_the_session_term_of_a_lone_session() -> None:
    lone = [rollout(turns=[1.0], session=1.0)]
    assert values(HianCredit().assign([lone], baseline=PLAIN, priors=[None])) == [[[[0.0, 0.0]]]]


def test_hian_part_in_turn_mode_needs_no_session_reward() -> None:
    group = [rollout(turns=[r]) for r in (1.0, 0.0)]
    found = HianCredit(w_session=0.0).assign([group], baseline=PLAIN, priors=[None])[0]
    assert [segments[0][0] for segments in found] == pytest.approx([0.5**0.5, -(0.5**0.5)], abs=1e-5)


def test_hian_part_refuses_trained_tokens_of_unrewarded_turns() -> None:
    group = [rollout(segments=[segment(2, turn_ids=[0, 1])], turns=[1.0], session=1.0)]
    with pytest.raises(InputError, match=r"segment 0 trains tokens of turns 0 to 1"):
        HianCredit().assign([group], baseline=PLAIN, priors=[None])
    masked = [rollout(segments=[segment(2, turn_ids=[0, 1], mask=[1, 0])], turns=[1.0], session=1.0)]
    assert values(HianCredit().assign([masked], baseline=PLAIN, priors=[None])) == [[[[0.0, 0.0]]]]


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
    found = MergedCredit(c_session=10.0, c_turn=0.1).assign([group], baseline=GroupMean(), priors=[None])[0]

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
