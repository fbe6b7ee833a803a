"""Outcome credit, plain GRPO: what the rollout earned against its group is copied to everything that the policy said.

With several conversations in a rollout this is MemAgent's Multi-Conv rule (arXiv 2507.02259, equations 4-5): only the end is
scored, and each token of each conversation gets that score's advantage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from memagent_training.grpo.credit.base import TokenAdvantages
from memagent_training.grpo.credit.broadcast import copied
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import Needs, Score
from memagent_training.grpo.rollout import Group


@dataclass(frozen=True, kw_only=True)
class OutcomeCredit:
    """One advantage a rollout, copied to every trained token of every segment."""

    name: ClassVar[str] = "outcome"
    key: str | None = None
    """The reward that counts; None: the sum of all."""

    @property
    def needs(self) -> Needs:
        return Needs(rewards=() if self.key is None else (self.key,))

    @property
    def scores(self) -> tuple[Score, ...]:
        """The reward `key`, or the sum of all."""
        return (Score(key=self.key),)

    def assign(self, groups: Sequence[Group], *, judge: Judge) -> TokenAdvantages:
        """See `Credit.assign`. Raises `InputError` for a rollout without the reward `key`."""
        [score] = self.scores
        return copied(groups, judge.advantages(groups, score))
