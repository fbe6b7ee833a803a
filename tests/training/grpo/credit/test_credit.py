"""What every credit keeps to, the outcome credit, and weighing by prompt."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.credit_rollouts import rollout, segment, values
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import (
    CREDITS,
    HianCredit,
    MemocrCredit,
    MergedCredit,
    OutcomeCredit,
    broadcast,
    weigh_by_prompt,
)
from memagent_training.grpo.judge import Judge

PLAIN = GroupMean(scale="none")


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
    assert credit.assign([], judge=Judge(PLAIN)) == []
    assert credit.assign([[]], judge=Judge(PLAIN)) == [[]]


def test_spread_gives_a_number_or_one_a_token_and_leaves_others_zero() -> None:
    masked = segment(3, mask=[1, 0, 1])
    assert broadcast(masked, 2.0).tolist() == [2.0, 0.0, 2.0]
    assert broadcast(masked, np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 0.0, 3.0]
    assert broadcast(segment(0), 1.0).shape == (0,)
    assert broadcast(segment(2), 1.0).dtype == np.float64


def test_outcome_copies_the_advantage_to_all_conversations() -> None:
    first = rollout("a", segments=[segment(2), segment(3, mask=[1, 0, 1])], answer=1.0, length=0.5)
    second = rollout("b", answer=0.0, length=0.5)

    assert values(OutcomeCredit().assign([[first, second]], judge=Judge(PLAIN))) == [
        [[[0.5, 0.5], [0.5, 0.0, 0.5]], [[-0.5, -0.5]]]
    ]
    keyed = OutcomeCredit(key="length").assign([[first, second]], judge=Judge(PLAIN))
    assert not any(one.any() for segments in keyed[0] for one in segments)
    with pytest.raises(InputError, match="no reward `style`"):
        OutcomeCredit(key="style").assign([[first, second]], judge=Judge(PLAIN))


def test_weighing_by_prompt_lets_each_prompt_count_its_own_mean() -> None:
    groups = [[rollout(answer=1.0)], [rollout(answer=float(i)) for i in range(3)], []]
    tokens = OutcomeCredit().assign(groups, judge=Judge(PLAIN))
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
