"""What stands between a credit and the baseline: rollouts and a score in, advantages out.

A credit says what it judges by (`Score`); the judge finds the scores of the rollouts, what to expect of each prompt in that
score, and the range of it, and asks the baseline. So each reward of a rollout has a prior and a range of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memagent_training.grpo.baselines.base import Baseline
from memagent_training.grpo.needs import Range, Rewards, Score
from memagent_training.grpo.priors import Prior
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.grpo.rollout import Rollout
from memagent_training.grpo.validate import Floats


@dataclass(frozen=True)
class Judge:
    """The baseline of a run, and what it is told beside the scores."""

    baseline: Baseline
    rewards: Rewards | None = field(default=None, kw_only=True)
    """What the objective declares; None: nothing is known of ranges."""
    prior: Prior | None = field(default=None, kw_only=True)
    history: PromptStats = field(default_factory=PromptStats, kw_only=True)

    def range_of(self, score: Score) -> Range | None:
        """Of a score; None where it has no bounds."""
        return None if self.rewards is None else self.rewards.range_of(score)

    def expected(self, prompt_id: str, score: Score) -> float | None:
        """What a prompt's rollouts will score on average; None where nothing is known."""
        if self.prior is None:
            return None
        return self.prior.value(prompt_id, score=score, bounds=self.range_of(score), history=self.history)

    def advantages(self, groups: Sequence[Sequence[Rollout]], score: Score) -> list[Floats]:
        """(k_i,) for each group of k_i >= 0 rollouts, in order. Raises `InputError` for a rollout without the reward."""
        return self.baseline.advantages(
            [[score.of(rollout) for rollout in group] for group in groups],
            priors=[self.expected(group[0].prompt_id, score) if group else None for group in groups],
            bounds=self.range_of(score),
        )
