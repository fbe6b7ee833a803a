"""RLOO's baseline: a reward is judged by the mean of the others of its group, so the baseline does not see what it judges.

    A_i = r_i - mean(r_j, j != i) = n / (n - 1) (r_i - mean(r))

The expected gradient is exact at every group size n >= 2 (Kool, van Hoof and Welling 2019; arXiv 2402.14740).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memagent_training.grpo.baselines.group_mean import Scale, check_scale, divided
from memagent_training.grpo.needs import Range
from memagent_training.grpo.validate import Floats, batch_deviation, deviation, rewards_of


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """Rewards minus the mean of the others of their group; a group of one keeps its raw reward. Needs no prior."""

    name: ClassVar[str] = "leave_one_out"

    scale: Scale = "none"
    """As for `GroupMean`; anything but `none` gives up exactness of the gradient."""
    eps: float = 1e-6
    """Added to the standard deviation when `scale` is not `none`."""

    def __post_init__(self) -> None:
        check_scale(self.scale, self.eps)

    def advantages(
        self, groups: Sequence[Sequence[float]], *, priors: Sequence[float | None] = (), bounds: Range | None = None
    ) -> list[Floats]:
        """One array (k_i,) for each group of k_i >= 0 finite rewards. Priors and bounds are not looked at.

        Raises `InputError`.
        """
        rewards = [rewards_of(group) for group in groups]
        whole = batch_deviation(rewards) if self.scale == "batch" else 0.0
        return [
            divided(left_one_out(group), deviation(group) if self.scale == "group" else whole, self.eps) for group in rewards
        ]


def left_one_out(rewards: Floats) -> Floats:
    """(k,) each reward minus the mean of the others; a lone one as it is; exactly 0 when all are equal."""
    if rewards.size == 1:
        return rewards
    if deviation(rewards) == 0:
        return np.zeros_like(rewards)
    others: Floats = (rewards.sum() - rewards) / (rewards.size - 1)
    return rewards - others
