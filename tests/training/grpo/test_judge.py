"""V0.5 judges each reward by a prior and a range of that reward: advantages by hand where a pass rate would mislead.

Everywhere k = 4, and T = 4 (mean - V)^2 / h^2 decides whether the prior V is kept (T <= 1) or gives way by w = 1 - 1/T.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from memagent.errors import ConfigError
from memagent_training.grpo import (
    HistoryPrior,
    MemocrCredit,
    MergedCredit,
    OutcomeCredit,
    PromptStats,
    Rollout,
    Segment,
    V05Baseline,
)
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import Rewards, Score
from memagent_training.grpo.prompt_stats import visit_of
from memagent_training.objectives import SelfVerify, TextMemocr
from memagent_training.objectives.environment import InEnvironment
from memagent_training.objectives.verification import verdict_reward


def group(
    rewards: Sequence[dict[str, float]],
    *,
    correct: Sequence[bool] = (),
    turns: Sequence[float] = (),
    roles: Sequence[str] = ("answer",),
) -> list[Rollout]:
    """Attempts at one prompt with a token for each role."""
    return [
        Rollout(
            id=str(place),
            group_id="g",
            prompt_id="p",
            segments=[Segment(prompt_ids=[1], ids=[2], role=role) for role in roles],
            rewards=one,
            turn_rewards=turns[place : place + 1],
            correct=correct[place] if correct else None,
        )
        for place, one in enumerate(rewards)
    ]


def judge_after(visit: Sequence[Rollout], gives: Rewards) -> Judge:
    """V0.5 that knows one earlier visit."""
    history = PromptStats()
    history.record([visit_of(visit)])
    for rollout in visit:
        gives.check(rollout, objective="mine")
    return Judge(V05Baseline(), rewards=gives, prior=HistoryPrior(), history=history)


def answers(*rewards: float) -> list[dict[str, float]]:
    return [{"answer": one} for one in rewards]


def first_tokens(tokens: list[list[list[object]]]) -> list[float]:
    return [float(segments[0][0]) for segments in tokens[0]]  # type: ignore[index]


def test_right_verdicts_are_never_pushed_down_however_little_they_pay() -> None:
    pay = verdict_reward("Yes", "Yes", 0.125)
    right = (True, True, True, False)
    judge = judge_after(group(answers(pay, pay, pay, 0.0), correct=right), SelfVerify.gives)
    assert judge.expected("p", Score(key="answer")) == 0.09375  # three of four; the pass rate is 0.75
    mixed = OutcomeCredit().assign([group(answers(pay, pay, pay, 0.0), correct=right)], judge=judge)
    assert first_tokens(mixed) == pytest.approx([0.03125, 0.03125, 0.03125, -0.09375], abs=1e-15)
    every = OutcomeCredit().assign([group(answers(*[pay] * 4), correct=(True,) * 4)], judge=judge)
    assert first_tokens(every) == pytest.approx([0.03125] * 4, abs=1e-15)  # T = 4 (1/32)^2 / (1/2)^2 = 1/64
    none = OutcomeCredit().assign([group(answers(*[0.0] * 4), correct=(False,) * 4)], judge=judge)
    assert first_tokens(none) == pytest.approx([-0.09375] * 4, abs=1e-15)  # T = 9/64


def test_shares_that_are_never_all_are_expected_as_they_were_earned() -> None:
    judge = judge_after(group(answers(0.5, 0.75, 0.5, 0.25), correct=(False,) * 4), InEnvironment.gives)
    found = OutcomeCredit().assign([group(answers(0.5, 0.75, 0.5, 0.25))], judge=judge)
    assert first_tokens(found) == pytest.approx([0.0, 0.25, 0.0, -0.25], abs=1e-15)
    better = OutcomeCredit().assign([group(answers(1.0, 1.0, 1.0, 1.0))], judge=judge)  # T = 4 (1/2)^2 / (1/2)^2 = 4, w = 3/4
    assert first_tokens(better) == pytest.approx([0.125] * 4, abs=1e-15)


def test_a_sum_of_three_rewards_has_the_range_and_the_mean_of_the_sum() -> None:
    def three(*sums: float) -> list[dict[str, float]]:
        return [{key: float(at < one) for at, key in enumerate(("std", "augM", "augQ"))} for one in sums]

    judge = judge_after(group(three(3, 2, 1, 2)), TextMemocr.gives)
    assert (judge.expected("p", Score()), judge.range_of(Score())) == (2.0, (0.0, 3.0))
    found = OutcomeCredit().assign([group(three(3, 3, 3, 3))], judge=judge)  # T = 4 / 1.5^2 = 16/9, w = 7/16, b = 2.4375
    assert first_tokens(found) == pytest.approx([0.5625] * 4, abs=1e-15)


def test_each_key_of_memocr_is_judged_by_a_prior_of_its_own() -> None:
    def two(*pairs: tuple[float, float]) -> list[dict[str, float]]:
        return [{"std": std, "augM": shrunk} for std, shrunk in pairs]

    roles = ("draft", "std", "augM")
    judge = judge_after(group(two((1, 0), (1, 0), (1, 0), (0, 0)), roles=roles), TextMemocr.gives)
    now = group(two((1, 0), (1, 0), (1, 0), (0, 1)), roles=roles)
    tokens = MemocrCredit(weights=(1.0, 0.5, 0.0)).assign([now], judge=judge)[0]
    # std: V = mean = 3/4. augM: V = 0, mean = 1/4, T = 4 (1/4)^2 / (1/2)^2 = 1 keeps V; with std's V it would be below 0
    found = [[float(one[0]) for one in segments] for segments in tokens]
    assert found[0] == pytest.approx([0.25 / 1.5, 0.25, 0.0], abs=1e-15)
    assert found[3] == pytest.approx([(-0.75 + 0.5) / 1.5, -0.75, 0.5], abs=1e-15)


def test_rewards_below_zero_have_their_own_range() -> None:
    gives = Rewards(ranges={"answer": (-4.0, 0.0)})
    judge = judge_after(group(answers(-3, -4, -3, -2)), gives)
    found = OutcomeCredit().assign([group(answers(-3, -4, -3, -2))], judge=judge)
    assert first_tokens(found) == pytest.approx([0.0, -1.0, 0.0, 1.0], abs=1e-15)
    best = OutcomeCredit().assign([group(answers(0, 0, 0, 0))], judge=judge)  # T = 4 * 9 / 4 = 9, w = 8/9, b = -1/3
    assert first_tokens(best) == pytest.approx([1 / 3] * 4, abs=1e-15)


def test_merged_turns_are_expected_as_they_were_merged() -> None:
    gives = Rewards(ranges={"answer": (0.0, 1.0)}, turns=True, turn_total=(-4.0, 0.0))
    credit = MergedCredit(c_turn=0.5)
    visit = group(answers(1, 0, 1, 0), turns=(-2.0, -4.0, 0.0, -2.0))  # 0, -2, 1, -1
    judge = judge_after(visit, gives)
    [score] = credit.scores
    assert (judge.expected("p", score), judge.range_of(score)) == (-0.5, (-2.0, 1.0))
    assert first_tokens(credit.assign([visit], judge=judge)) == pytest.approx([0.5, -1.5, 1.5, -0.5], abs=1e-15)


def test_a_reward_out_of_its_declared_range_is_named_with_what_was_declared() -> None:
    gives = Rewards(ranges={"answer": (-4.0, 0.0), "free": None}, turns=True, turn_total=(0.0, 2.0))
    gives.check(group([{"answer": -4.0, "free": 1e9}], turns=(2.0,))[0], objective="mine")
    for wrong, turns, said in (
        ({"answer": 1.0}, (), r'objective "mine" gave rollout `0` 1 as answer, and declares -4 to 0'),
        ({"answer": -1.0, "style": 0.0}, (), r"a reward `style`, which it does not declare.*answer, free"),
        ({"answer": -1.0}, (2.5,), "2.5 as the sum of turn rewards, and declares 0 to 2"),
    ):
        with pytest.raises(ConfigError, match=said):
            gives.check(group([wrong], turns=turns)[0], objective="mine")


def test_the_range_of_a_score_follows_from_its_rewards() -> None:
    gives = Rewards(ranges={"a": (-1.0, 1.0), "b": (0.0, 2.0)}, turns=True, turn_total=(-4.0, 0.0), checked=frozenset({"a"}))
    assert gives.range_of(Score(key="a")) == (-1.0, 1.0)
    assert gives.range_of(Score()) == (-1.0, 3.0)
    assert gives.range_of(Score(key="b", scale=2.0, turns=0.5)) == (-2.0, 4.0)
    assert Rewards(ranges={"a": None}).range_of(Score()) is None
    assert Rewards(ranges={"a": (0.0, 1.0)}, turns=True).range_of(Score(turns=1.0)) is None
    assert [gives.is_checked(score) for score in (Score(key="a"), Score(key="b"), Score(), Score(key="a", turns=1.0))] == [
        True,
        False,
        False,
        False,
    ]
