"""HIAN, DuCA's credit on two horizons: what a turn was worth and what the session was worth, on one scale.

A session of several agent turns earns one reward at its end, and each turn earns its own. Added up as they come, the
term with the larger spread drowns the other. HIAN normalises each horizon apart and only then adds them:

    A[i, t] = w_session * A_session[i] + w_turn * clip(A_turn[i, t])

A_session is a z-score over the sessions of the group. A_turn is a z-score over a pool of turns: `position` compares turn
t with turn t of the other sessions; `group` and `batch` compare all turns with each other, which punishes late turns for
being late (repetition needs a history). Whatever the scales of the rewards, the turn term owns
w_turn^2 / (w_session^2 + w_turn^2) of the variance where both horizons vary.

Source: DuCA, arXiv 2603.01481, for the principle. Which turns are compared, `clip` and the floor of the deviation are ours: the
paper leaves them open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.credit.base import TokenAdvantages
from memagent_training.grpo.credit.broadcast import broadcast
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import Needs, Score
from memagent_training.grpo.rollout import Group, Rollout
from memagent_training.grpo.validate import Floats, rewards_of

Pool = Literal["position", "group", "batch"]
TurnRewards = Sequence[Sequence[float]]
"""For each session of a group, one reward a turn; sessions may differ in length."""


def hian_advantages(
    session_rewards: Sequence[float],
    turn_rewards: TurnRewards,
    *,
    w_session: float = 1.0,
    w_turn: float = 1.0,
    pool: Pool = "position",
    turn_gamma: float = 0.0,
    clip: float | None = 5.0,
    eps: float = 1e-6,
    floor: float = 1e-8,
) -> list[list[float]]:
    """The fused advantage of every turn of one group: G lists as long as those of `turn_rewards`.

    `session_rewards` is (G,). `pool="batch"` takes this group for the whole batch; for several groups see `hian_batch`.
    Turn returns are discounted by `turn_gamma` in [0, 1] (0: the turn's own reward); |A_turn| is cut at `clip` after
    normalisation and before fusion (None: not at all). A z-score is (x - mean)/(sd + eps) with the n-1 deviation, and
    exactly 0 where sd <= `floor` or fewer than two values are compared.
    Raises `InputError` for lengths that differ, values that are not finite, and options out of range.
    """
    return hian_batch(
        [(session_rewards, turn_rewards)],
        w_session=w_session,
        w_turn=w_turn,
        pool=pool,
        turn_gamma=turn_gamma,
        clip=clip,
        eps=eps,
        floor=floor,
    )[0]


def hian_batch(
    groups: Sequence[tuple[Sequence[float], TurnRewards]],
    *,
    w_session: float = 1.0,
    w_turn: float = 1.0,
    pool: Pool = "position",
    turn_gamma: float = 0.0,
    clip: float | None = 5.0,
    eps: float = 1e-6,
    floor: float = 1e-8,
) -> list[list[list[float]]]:
    """`hian_advantages` for several groups of (session rewards, turn rewards), which `pool="batch"` normalises as one.

    One list a group, of one list a session. Errors as there.
    """
    if problem := _problem(w_session=w_session, w_turn=w_turn, pool=pool, turn_gamma=turn_gamma, clip=clip):
        raise InputError(problem)
    scores = [z_score(session_rewards_of(*group), eps=eps, floor=floor) for group in groups]
    turn_scores = turn_advantages(
        [turns for _, turns in groups], pool=pool, turn_gamma=turn_gamma, clip=clip, eps=eps, floor=floor
    )
    return [
        [(w_session * score + w_turn * turns).tolist() for score, turns in zip(of_group, of_turns, strict=True)]
        for of_group, of_turns in zip(scores, turn_scores, strict=True)
    ]


def session_rewards_of(session_rewards: Sequence[float], turn_rewards: TurnRewards) -> Floats:
    """(G,) finite session rewards. Raises `InputError` unless there are as many as sessions with turns."""
    if len(session_rewards) != len(turn_rewards):
        raise InputError(f"{len(session_rewards)} session rewards for the turns of {len(turn_rewards)} sessions; give one each")
    return rewards_of(session_rewards)


def turn_advantages(
    groups: Sequence[TurnRewards],
    *,
    pool: Pool = "position",
    turn_gamma: float = 0.0,
    clip: float | None = 5.0,
    eps: float = 1e-6,
    floor: float = 1e-8,
) -> list[list[Floats]]:
    """A_turn alone: for each group and session (n_turns,), normalised over its pool and clipped (see `hian_advantages`)."""
    result = [[turn_returns(rewards, turn_gamma=turn_gamma) for rewards in group] for group in groups]
    pools: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for g, group in enumerate(result):
        for i, returns in enumerate(group):
            for t in range(len(returns)):
                key = {"position": (g, t), "group": (g,), "batch": ()}[pool]
                pools.setdefault(key, []).append((g, i, t))
    for members in pools.values():
        lone = pool == "group" and len(result[members[0][0]]) == 1  # one session is not compared with itself
        scores = z_score(np.array([result[g][i][t] for g, i, t in members]), eps=eps, floor=floor)
        for (g, i, t), score in zip(members, scores, strict=True):
            result[g][i][t] = 0.0 if lone else score
    return result if clip is None else [[returns.clip(-clip, clip) for returns in group] for group in result]


def turn_returns(rewards: Sequence[float], *, turn_gamma: float) -> Floats:
    """(n,) g[t] = sum over s >= t of turn_gamma^(s - t) r[s]."""
    returns = rewards_of(rewards).copy()
    for turn in range(len(returns) - 2, -1, -1):
        returns[turn] += turn_gamma * returns[turn + 1]
    return returns


def z_score(values: Floats, *, eps: float = 1e-6, floor: float = 1e-8) -> Floats:
    """(n,) (x - mean)/(sd + eps), n-1 deviation; exactly 0 for fewer than two values, equal values or sd <= `floor`."""
    if len(values) < 2 or np.ptp(values) == 0:
        return np.zeros(len(values))
    deviation = values.std(ddof=1)
    return np.zeros(len(values)) if deviation <= floor else (values - values.mean()) / (deviation + eps)


@dataclass(frozen=True, kw_only=True)
class HianCredit:
    """HIAN on tokens: each trained token gets the advantage of its turn, with the recipe's baseline for the session term.

    `GroupMean(scale="group", eps=1e-6)` gives `hian_advantages`. `w_turn=0` is sparse GRPO, equal to `OutcomeCredit` bit
    for bit in groups of two and more, `w_session=0` is turns alone. A lone session has session term 0. A token's turn is
    `Segment.turn_ids`, which counts over the whole rollout; without it, segment i of several is turn i and a single
    segment is turn 0. Tokens of turn -1, and rollouts without turn rewards, have the session term alone.
    """

    name: ClassVar[str] = "hian"
    w_session: float = 1.0
    """Weight of the session term, at least 0; 0 needs no session reward."""
    w_turn: float = 1.0
    """Weight of the turn term, at least 0; not both weights 0."""
    pool: Pool = "position"
    """Which turns are compared: of the same index in the group, all of the group, or all of the batch."""
    turn_gamma: float = 0.0
    """Discount of later turns in [0, 1]; 0: a turn has its own reward only."""
    clip: float | None = 5.0
    """Bound of |A_turn| before fusion; None: no bound."""
    session_key: str | None = None
    """The reward of the whole session; None: the sum of all."""

    def __post_init__(self) -> None:
        problem = _problem(
            w_session=self.w_session, w_turn=self.w_turn, pool=self.pool, turn_gamma=self.turn_gamma, clip=self.clip
        )
        if problem is None and self.w_session == self.w_turn == 0:
            problem = "`w_session` and `w_turn` are both 0, so nothing would be trained; make one positive"
        if problem:
            raise ConfigError(problem)

    @property
    def needs(self) -> Needs:
        """The session's reward unless it has no weight, and turn rewards unless they have none."""
        keys = (self.session_key,) if self.w_session and self.session_key else ()
        return Needs(rewards=keys, turn_rewards=self.w_turn > 0)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The session's reward, unless it has no weight."""
        return (Score(key=self.session_key),) if self.w_session else ()

    def assign(self, groups: Sequence[Group], *, judge: Judge) -> TokenAdvantages:
        """See `Credit.assign`. Raises `InputError` for a missing session reward or a trained token of an unrewarded turn."""
        sessions = self._sessions(groups, judge)
        turns = turn_advantages(
            [[rollout.turn_rewards for rollout in group] for group in groups],
            pool=self.pool,
            turn_gamma=self.turn_gamma,
            clip=self.clip,
        )
        return [
            [self._rollout(*one) for one in zip(group, of_group, of_turns, strict=True)]
            for group, of_group, of_turns in zip(groups, sessions, turns, strict=True)
        ]

    def _sessions(self, groups: Sequence[Group], judge: Judge) -> list[Floats]:
        """The weighted session term, (k_i,) for each group."""
        if not self.scores:
            return [np.zeros(len(group)) for group in groups]
        advantages = judge.advantages(groups, self.scores[0])
        return [self.w_session * one if len(one) > 1 else np.zeros(len(one)) for one in advantages]

    def _rollout(self, rollout: Rollout, session: float, turns: Floats) -> list[Floats]:
        if self.w_turn == 0 or len(turns) == 0:
            return [broadcast(segment, session) for segment in rollout.segments]
        padded = np.append(self.w_turn * turns, 0.0)  # (n_turns + 1,) turn -1 is the last: nobody's
        return [
            broadcast(segment, session + padded[_turn_ids(rollout, place, len(turns))])
            for place, segment in enumerate(rollout.segments)
        ]


def _turn_ids(rollout: Rollout, place: int, n_turns: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(T,) the turn of every token of segment `place`, -1 = nobody's or not trained."""
    segment = rollout.segments[place]
    turns = np.full(len(segment.ids), place if len(rollout.segments) > 1 else 0)
    if segment.turn_ids is not None:
        turns[:] = segment.turn_ids
    if segment.mask is not None:
        turns[np.asarray(segment.mask) == 0] = -1
    if turns.size and not -1 <= turns.min() <= turns.max() < n_turns:
        raise InputError(
            f"rollout `{rollout.id}` has turn rewards for turns 0 to {n_turns - 1}, but segment {place} trains tokens of "
            f"turns {turns.min()} to {turns.max()}; give a reward for each turn, or -1 for tokens of none"
        )
    return turns


def _problem(*, w_session: float, w_turn: float, pool: str, turn_gamma: float, clip: float | None) -> str | None:
    """What is wrong with the options, or None."""
    for name, value in (("w_session", w_session), ("w_turn", w_turn)):
        if not (math.isfinite(value) and value >= 0):
            return f"`{name}` is {value}; give a number of at least 0"
    if pool not in get_args(Pool):
        return f"`pool` is {pool!r}; choose one of: {', '.join(get_args(Pool))}"
    if not 0 <= turn_gamma <= 1:
        return f"`turn_gamma` is {turn_gamma}; give a discount between 0 and 1"
    if clip is not None and not clip > 0:
        return f"`clip` is {clip}; give a positive bound, or None for none"
    return None
