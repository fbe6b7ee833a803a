"""V0.5's sampling: every prompt gets a few rollouts, and those whose prior turns out wrong get more, round by round.

After each round a prompt with prior V, k rewards and unexplained gap D (see `memagent_training.grpo.baselines.v05`) asks for
`step` more while that lowers the plug-in risk D / (1 + k D) by more than it costs (arXiv 2603.10848). A prompt whose prior is
accepted has D = 0 and stops at once. There are at most (k_max - k_init) / step rounds after the first.

The stopping rule looks at rewards, which biases means of what it sampled; `training/experiments/v05_mse` says by how much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.allocators.base import OneRound
from memagent_training.grpo.baselines.v05 import Osla, fuse, gain_rate
from memagent_training.grpo.needs import Needs, Range
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.grpo.validate import Floats, check_choice, half_range, ranged_prior, ranged_rewards


@dataclass(frozen=True, kw_only=True)
class SequentialAllocator(OneRound):
    """`k_init` rollouts for every prompt, then `step` more at a time for those that disagree with their prior.

    A prompt without a prior (None) stops at `k_init`: there is nothing that its rollouts could disagree with. So does one that
    has no reward at all.
    """

    name: ClassVar[str] = "sequential"
    ragged: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(range=True, prior=True)

    k_init: int = 4
    """Rollouts that every prompt starts with; below 3 the mean has too few values for the test, and training fails."""
    k_max: int = 16
    """Most rollouts of a prompt."""
    step: int = 1
    """Rollouts added at a time."""
    cost: float | None = None
    """What a rollout costs, in squared error of rewards in [-1, 1]. None: 1 / `k_max`^2."""
    batch_cap: int | None = None
    """Most rollouts of a whole batch, the first ones included; the largest gains are served first. None: no cap."""
    osla: Osla = "discrete"
    """How the gain of a rollout is foreseen."""
    force: bool = False
    """Allow `k_init` below 3."""

    def __post_init__(self) -> None:
        if not (1 <= self.k_init <= self.k_max and self.step >= 1):
            seen = f"`k_init` = {self.k_init}, `k_max` = {self.k_max}, `step` = {self.step}"
            raise ConfigError(f"{seen}; sampling needs 1 <= k_init <= k_max and step >= 1")
        if self.k_init < 3 and not self.force:
            raise ConfigError(f"`k_init` is {self.k_init}; groups below 3 fail to train, use 4, or set `force = true`")
        if self.cost is not None and not (math.isfinite(self.cost) and self.cost >= 0):
            raise ConfigError(f"`cost` is {self.cost}; it must be at least 0, or left out for 1 / k_max^2")
        if self.batch_cap is not None and self.batch_cap < self.k_init:
            raise ConfigError(
                f"`batch_cap` is {self.batch_cap}; it must cover `k_init` = {self.k_init} rollouts of each prompt"
            )
        check_choice("osla", self.osla, Osla, error=ConfigError)

    def check(self, *, prompts: int, group_size: int) -> None:
        """Raises `ConfigError` where `batch_cap` does not cover the first round. `group_size` is not looked at."""
        if self.batch_cap is not None and self.k_init * prompts > self.batch_cap:
            raise ConfigError(
                f'allocator "sequential" starts {prompts} prompts with `k_init` = {self.k_init} rollouts, which are '
                f"{self.k_init * prompts}, and `batch_cap` allows {self.batch_cap}; raise allocator.batch_cap or lower "
                "rollouts.prompts"
            )

    def first(self, prompts: Sequence[str], *, total: int, history: PromptStats) -> list[int]:
        """`k_init` for each prompt, whatever `total` and `history`. Raises `InputError` when `batch_cap` does not allow it."""
        needed = self.k_init * len(prompts)
        if self.batch_cap is not None and needed > self.batch_cap:
            raise InputError(
                f"{len(prompts)} prompts x `k_init` {self.k_init} = {needed} rollouts exceed `batch_cap` {self.batch_cap}; "
                "raise it or draw fewer prompts"
            )
        return [self.k_init] * len(prompts)

    def more(
        self, rewards: Sequence[Sequence[float]], *, priors: Sequence[float | None], bounds: Range | None
    ) -> list[int] | None:
        """Further rollouts for each prompt, or None when all have stopped or the batch is full.

        Gains are compared for each rollout; ties go to the lowest index, and the last one served may get less than `step`.
        Raises `InputError` for no bounds, rewards or priors out of them, and another number of priors than prompts.
        """
        if bounds is None:
            raise InputError("sequential sampling weighs a mean by the range of rewards, and there is none; give `bounds`")
        if len(rewards) != len(priors):
            raise InputError(f"{len(rewards)} prompts came with {len(priors)} priors; give one a prompt, None when unknown")
        groups = [ranged_rewards(group, low=bounds[0], high=bounds[1]) for group in rewards]
        wanted, gains = self._wanted(groups, priors, bounds)
        if self.batch_cap is not None:
            room = self.batch_cap - sum(group.size for group in groups)
            for at in sorted(range(len(wanted)), key=lambda at: (-gains[at], at)):  # largest gains first, ties lowest index
                wanted[at] = max(0, min(wanted[at], room))
                room -= wanted[at]
        return wanted if any(wanted) else None

    def _wanted(self, groups: Sequence[Floats], priors: Sequence[float | None], bounds: Range) -> tuple[list[int], list[float]]:
        """What each prompt asks for, and the gain of each of these rollouts; zeros for those that stop."""
        wanted, gains = [0] * len(groups), [0.0] * len(groups)
        judged = [at for at, prior in enumerate(priors) if prior is not None and 0 < groups[at].size < self.k_max]
        if not judged:
            return wanted, gains
        low, high = bounds
        half = half_range(low=low, high=high)
        expected = [ranged_prior(priors[at], low=low, high=high) for at in judged]  # (J,)
        k = np.array([groups[at].size for at in judged])
        delta2 = fuse([groups[at].mean() for at in judged], expected, k, half=half).delta2 / half**2
        step = np.minimum(self.step, self.k_max - k)
        rates = gain_rate(k, delta2, m=step, osla=self.osla)
        cost = 1 / self.k_max**2 if self.cost is None else self.cost
        for at, count, rate in zip(judged, step, rates, strict=True):
            if rate > cost:
                wanted[at], gains[at] = int(count), float(rate)
        return wanted, gains
