"""MemOCR's credit: drafts are paid by all three reading tasks, each reading by its own.

One rollout drafts a memory and then reads it three times: `std` under the full budget, `augM` under a sixteenth of it,
`augQ` for a detail. For each task k there is an advantage A^k within the group. A reading is trained on w_k A^k (the
code; the paper's figure has plain A^k: `scale_reading=False`), every draft on sum_k w_k A^k / sum_k w_k. So a draft that
keeps the crucial large and the rest small enough is worth more than one that only fits the question.

Source: MemOCR (arXiv 2601.21468) and its released code: no division by the standard deviation, a group of one keeps r.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.baselines.group_mean import GroupMean
from memagent_training.grpo.credit.base import TokenAdvantages
from memagent_training.grpo.credit.broadcast import broadcast
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import Needs, Score
from memagent_training.grpo.rollout import Group, Rollout
from memagent_training.grpo.validate import Floats, rewards_of

TASKS = ("std", "augM", "augQ")
"""The reading tasks: reward keys, and the roles of the segments that read."""
OPTIONAL = "augQ"
"""The task that a rollout may lack."""
DRAFT = "draft"
"""The role of a segment that writes the memory."""

Weights = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MemocrAdvantages:
    """(G,) each: what the segments of every rollout of one group are trained on."""

    drafting: Floats
    """Every draft of the rollout."""
    std: Floats
    """The reading under the full budget."""
    aug_m: Floats
    """The reading of the shrunk picture."""
    aug_q: Floats
    """The reading for the detail question."""

    def of(self, role: str) -> Floats:
        """The array for segments of `role`. Raises `InputError` for a role that is neither `draft` nor a task."""
        table = dict(zip((DRAFT, *TASKS), (self.drafting, self.std, self.aug_m, self.aug_q), strict=True))
        if role not in table:
            raise InputError(f"MemOCR's credit has no advantage for a segment of role `{role}`; roles: {', '.join(table)}")
        return table[role]


def memocr_advantages(
    std: ArrayLike,
    aug_m: ArrayLike,
    aug_q: ArrayLike,
    *,
    weights: Weights = (1.0, 0.7, 0.3),
    scale_reading: bool = True,
) -> MemocrAdvantages:
    """Advantages of one group from the rewards (G,) of its three tasks, in any finite range.

    A^k = r^k - mean(r^k), or r^k itself when G = 1; drafting is sum_k w_k A^k / sum_k w_k; readings are w_k A^k, or A^k
    without `scale_reading`. Raises `InputError` for lengths that differ, values that are not
    finite, and weights that are negative or all 0.

    >>> memocr_advantages([1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1]).drafting.round(12).tolist()
    [0.4, -0.3, 0.2, -0.3]
    """
    if problem := _weights_problem(weights):
        raise InputError(problem)
    tasks = GroupMean(scale="none").advantages([rewards_of(values).tolist() for values in (std, aug_m, aug_q)])
    if len({len(one) for one in tasks}) > 1:
        raise InputError(f"`std`, `aug_m` and `aug_q` have {[len(one) for one in tasks]} rewards; one each for a rollout")
    return _combine(tasks, weights=weights, scale_reading=scale_reading)


@dataclass(frozen=True, kw_only=True)
class MemocrCredit:
    """`memocr_advantages` with the recipe's baseline in place of the group mean (`GroupMean(scale="none")` gives the same).

    Drafts have the role `draft`, readings the name of their task. Rollouts need the rewards `std` and `augM`; a task of
    weight 0 may lack its reward: then it has advantage 0. One whose page had nothing to ask for lacks `augQ`: it has advantage
    0 in that task, and the others of its group are compared without it.
    """

    name: ClassVar[str] = "memocr"
    weights: Weights = (1.0, 0.7, 0.3)
    """Of std, augM and augQ; at least 0, not all 0."""
    scale_reading: bool = True
    """Whether readings, too, are multiplied by their weight, as the released code does."""

    def __post_init__(self) -> None:
        if problem := _weights_problem(self.weights):
            raise ConfigError(problem)

    @property
    def needs(self) -> Needs:
        """The rewards of all tasks that have a weight."""
        return Needs(rewards=tuple(key for key, weight in zip(TASKS, self.weights, strict=True) if weight))

    @property
    def scores(self) -> tuple[Score, ...]:
        """The reward of each task: each is judged by itself, with a prior of its own."""
        return tuple(Score(key=key) for key in TASKS)

    def total(self, rollout: Rollout) -> float:
        """What the log calls its reward, as the release does: the mean of its rewards, weighted by `weights`."""
        kept = [
            (rollout.rewards[key], weight) for key, weight in zip(TASKS, self.weights, strict=True) if key in rollout.rewards
        ]
        weighed = sum(weight for _, weight in kept)
        return sum(reward * weight for reward, weight in kept) / weighed if weighed else 0.0

    def assign(self, groups: Sequence[Group], *, judge: Judge) -> TokenAdvantages:
        """See `Credit.assign`. Raises `InputError` for a missing reward or a segment of another role."""
        tasks = [self._task(groups, key, weight, judge) for key, weight in zip(TASKS, self.weights, strict=True)]
        combined = [
            _combine([task[place] for task in tasks], weights=self.weights, scale_reading=self.scale_reading)
            for place in range(len(groups))
        ]
        return [
            [
                [broadcast(segment, float(advantages.of(segment.role)[place])) for segment in rollout.segments]
                for place, rollout in enumerate(group)
            ]
            for group, advantages in zip(groups, combined, strict=True)
        ]

    def _task(self, groups: Sequence[Group], key: str, weight: float, judge: Judge) -> list[Floats]:
        """The baseline's advantages of one task, (k_i,) for each group."""
        if weight == 0 and any(key not in rollout.rewards for group in groups for rollout in group):
            return [np.zeros(len(group)) for group in groups]
        advantages = [np.zeros(len(group)) for group in groups]
        has = [[key != OPTIONAL or key in rollout.rewards for rollout in group] for group in groups]
        asked = [place for place, kept in enumerate(has) if any(kept)]
        judged = [list(compress(groups[place], has[place])) for place in asked]
        for place, values in zip(asked, judge.advantages(judged, Score(key=key)), strict=True):
            advantages[place][has[place]] = values
        return advantages


def _combine(tasks: Sequence[Floats], *, weights: Weights, scale_reading: bool) -> MemocrAdvantages:
    scaled = [weight * task for weight, task in zip(weights, tasks, strict=True)]
    std, aug_m, aug_q = scaled if scale_reading else tasks
    drafting = (scaled[0] + scaled[1] + scaled[2]) / sum(weights)
    return MemocrAdvantages(drafting=drafting, std=std, aug_m=aug_m, aug_q=aug_q)


def _weights_problem(weights: Sequence[float]) -> str | None:
    good = len(weights) == len(TASKS) and all(math.isfinite(one) and one >= 0 for one in weights) and sum(weights) > 0
    return None if good else f"`weights` is {tuple(weights)}; give three numbers for std, augM, augQ, at least 0 and not all 0"
