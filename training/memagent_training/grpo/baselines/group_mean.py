"""GRPO's baseline: a reward is judged by the mean of its group and, if wanted, measured in standard deviations.

    A_i = (r_i - mean(r)) / (std(r) + eps)            std with n - 1

(DeepSeekMath, arXiv 2402.03300, section 4.1.2.) Subtracting a mean that holds the rollout itself shrinks the expected
gradient by 1 - 1/n; `LeaveOneOut` does not. A group whose rewards are all equal says nothing: its advantages are exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from memagent.errors import ConfigError
from memagent_training.grpo.needs import Range
from memagent_training.grpo.validate import Floats, batch_deviation, check_choice, deviation, rewards_of

Lone = Literal["raw", "zero"]
Scale = Literal["group", "none", "batch"]
"""What centred rewards are divided by: the group's standard deviation, nothing, or that of all rewards of the batch."""


@dataclass(frozen=True, kw_only=True)
class GroupMean:
    """Rewards minus their group's mean. Needs no prior."""

    name: ClassVar[str] = "group_mean"

    scale: Scale = "group"
    """`group` is GRPO, `none` is Dr. GRPO (arXiv 2503.20783), `batch` divides by the deviation over the whole batch."""
    eps: float = 1e-6
    """Added to the standard deviation. TRL adds 1e-4 and is otherwise the same."""
    lone: Lone = "raw"
    """A group of one has no mean to be judged by: `raw` keeps its reward (mean 0, deviation 1,
    and what verl does), `zero` drops it from the gradient (what TRL does)."""

    def __post_init__(self) -> None:
        check_scale(self.scale, self.eps)
        check_choice("lone", self.lone, Lone, error=ConfigError)

    def advantages(
        self, groups: Sequence[Sequence[float]], *, priors: Sequence[float | None] = (), bounds: Range | None = None
    ) -> list[Floats]:
        """One array (k_i,) for each group of k_i >= 0 finite rewards. Priors and bounds are not looked at.

        Raises `InputError`.
        """
        rewards = [rewards_of(group) for group in groups]
        whole = batch_deviation(rewards) if self.scale == "batch" else 0.0
        found: list[Floats] = []
        for group in rewards:
            spread, centred = deviation(group), group
            if group.size != 1 or self.lone == "zero":
                centred = group - group.mean() if spread > 0 else np.zeros_like(group)
            found.append(divided(centred, spread if self.scale == "group" else whole, self.eps))
        return found


def check_scale(scale: str, eps: float) -> None:
    """Raises `ConfigError` for a scale that does not exist and an `eps` that is not a finite number >= 0."""
    check_choice("scale", scale, Scale, error=ConfigError)
    if not (math.isfinite(eps) and eps >= 0):
        raise ConfigError(f"`eps` is {eps}; it must be finite and at least 0, such as 1e-6, or 1e-4 as in TRL")


def divided(centred: Floats, deviation: float, eps: float) -> Floats:
    """`centred` / (`deviation` + `eps`); a deviation of 0 leaves it as it is: there is no scale to measure it in."""
    return centred / (deviation + eps) if deviation > 0 else centred
