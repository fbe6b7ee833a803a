"""What HIAN is compared with: both horizons in one scalar before anything is normalised ("standard RL").

`merged` scores Q = c_session R + c_turn sum_t r[t] against the group and copies it to all turns; `merged_turn` adds R to
the last turn's reward and scores the return-to-go of every turn against all turns of the group. Either way the horizon
with the larger spread owns the gradient: see `turn_variance_share`. The other two, sparse GRPO and turns alone, are HIAN
with a weight of 0. Source: the baselines of DuCA, arXiv 2603.01481.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memagent.errors import ConfigError
from memagent_training.grpo.credit.base import TokenAdvantages
from memagent_training.grpo.credit.broadcast import copied
from memagent_training.grpo.credit.hian import TurnRewards, session_rewards_of, turn_returns, z_score
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import Needs, Score
from memagent_training.grpo.rollout import Group
from memagent_training.grpo.validate import Floats, rewards_of


def merged_advantages(
    session_rewards: Sequence[float],
    turn_rewards: TurnRewards,
    *,
    c_session: float = 1.0,
    c_turn: float = 1.0,
    eps: float = 1e-6,
    floor: float = 1e-8,
) -> list[list[float]]:
    """One z-score of c_session R + c_turn sum_t r[t] over the group, copied to every turn: lists as in `turn_rewards`.

    Shapes, `eps`, `floor` and errors as for `hian_advantages`; the scales may be any finite numbers.
    """
    session, turns = _checked(session_rewards, turn_rewards)
    totals = np.array([one.sum() for one in turns], np.float64)
    scores = z_score(c_session * session + c_turn * totals, eps=eps, floor=floor)
    return [[float(score)] * len(one) for score, one in zip(scores, turns, strict=True)]


def merged_turn_advantages(
    session_rewards: Sequence[float],
    turn_rewards: TurnRewards,
    *,
    c_session: float = 1.0,
    c_turn: float = 1.0,
    eps: float = 1e-6,
    floor: float = 1e-8,
) -> list[list[float]]:
    """c_session R joins the last turn's c_turn r; one z-score of the returns-to-go over all turns of the group.

    Shapes, `eps`, `floor` and errors as for `hian_advantages`. A session without turns has no place for its reward.
    """
    session, turns = _checked(session_rewards, turn_rewards)
    rewards = [c_turn * one for one in turns]
    for reward, one in zip(session, rewards, strict=True):
        one[-1:] += c_session * reward
    returns = [turn_returns(one.tolist(), turn_gamma=1.0) for one in rewards]
    scores = z_score(np.concatenate([*returns, np.zeros(0)]), eps=eps, floor=floor)
    ends = np.cumsum([len(one) for one in turns], dtype=np.int64)
    return [part.tolist() for part in np.split(scores, ends)[: len(turns)]]


def turn_variance_share(
    session_rewards: Sequence[float], turn_rewards: TurnRewards, *, c_session: float = 1.0, c_turn: float = 1.0
) -> float:
    """The share in [0, 1] of a merged advantage's variance that turn rewards own, were the horizons independent.

    c_turn^2 Var(sum r) / (c_session^2 Var(R) + c_turn^2 Var(sum r)), n-1 variances over the sessions given; 0 where
    neither varies. HIAN's share is w_turn^2 / (w_session^2 + w_turn^2) whatever the rewards. Errors as `hian_advantages`.
    """
    session, turns = _checked(session_rewards, turn_rewards)
    if len(session) < 2:
        return 0.0
    of_session = c_session**2 * session.var(ddof=1)
    of_turns = c_turn**2 * np.array([one.sum() for one in turns], np.float64).var(ddof=1)
    return float(of_turns / (of_session + of_turns)) if of_session + of_turns > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class MergedCredit:
    """The recipe's baseline applied to c_session R + c_turn sum_t r[t], copied to every trained token."""

    name: ClassVar[str] = "merged"
    c_session: float = 1.0
    """Scale of the session reward, at least 0."""
    c_turn: float = 1.0
    """Scale of the turn rewards, at least 0; not both 0."""
    session_key: str | None = None
    """The reward of the whole session; None: the sum of all."""

    def __post_init__(self) -> None:
        scales = (self.c_session, self.c_turn)
        if not (all(math.isfinite(one) and one >= 0 for one in scales) and sum(scales) > 0):
            raise ConfigError(f"`c_session` and `c_turn` are {scales}; give numbers of at least 0, not both 0")

    @property
    def needs(self) -> Needs:
        return Needs(rewards=(self.session_key,) if self.session_key else (), turn_rewards=self.c_turn > 0)

    @property
    def scores(self) -> tuple[Score, ...]:
        """c_session R + c_turn sum_t r[t]."""
        return (Score(key=self.session_key, scale=self.c_session, turns=self.c_turn),)

    def assign(self, groups: Sequence[Group], *, judge: Judge) -> TokenAdvantages:
        """See `Credit.assign`. Raises `InputError` for a missing session reward or turn rewards that are not finite."""
        [score] = self.scores
        return copied(groups, judge.advantages(groups, score))


def _checked(session_rewards: Sequence[float], turn_rewards: TurnRewards) -> tuple[Floats, list[Floats]]:
    """(G,) and G arrays (n_turns,), finite and of the same G."""
    return session_rewards_of(session_rewards, turn_rewards), [rewards_of(one) for one in turn_rewards]
