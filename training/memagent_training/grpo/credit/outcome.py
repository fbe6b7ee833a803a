"""Outcome credit, plain GRPO: what the rollout earned against its group is copied to everything that the policy said.

With several conversations in a rollout this is MemAgent's Multi-Conv rule (arXiv 2507.02259, equations 4-5): only the end is
scored, and each token of each conversation gets that score's advantage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from memagent_training.grpo.baselines.base import Baseline
from memagent_training.grpo.credit.base import TokenAdvantages
from memagent_training.grpo.credit.broadcast import copied
from memagent_training.grpo.needs import Needs, Range, Rewards
from memagent_training.grpo.rollout import Group, reward_of


@dataclass(frozen=True, kw_only=True)
class OutcomeCredit:
    """One advantage a rollout, copied to every trained token of every segment."""

    name: ClassVar[str] = "outcome"
    key: str | None = None
    """The reward that counts; None: the sum of all."""

    @property
    def needs(self) -> Needs:
        return Needs(rewards=() if self.key is None else (self.key,))

    def judged(self, rewards: Rewards) -> Range:
        """The range of `key`, or of the sum of all."""
        return rewards.range_of(self.key)

    def assign(self, groups: Sequence[Group], *, baseline: Baseline, priors: Sequence[float | None]) -> TokenAdvantages:
        """See `Credit.assign`. Raises `InputError` for a rollout without the reward `key`."""
        rewards = [[reward_of(rollout, key=self.key) for rollout in group] for group in groups]
        return copied(groups, baseline.advantages(rewards, priors=priors))
