"""The same number of rollouts for every prompt: GRPO as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from memagent_training.grpo.allocators.base import OneRound
from memagent_training.grpo.allocators.solvers import even_split
from memagent_training.grpo.prompt_stats import PromptStats


@dataclass(frozen=True, kw_only=True)
class UniformAllocator(OneRound):
    """An even split; where `total` is no multiple of the prompts, the first ones get one more."""

    name: ClassVar[str] = "uniform"
    ragged: ClassVar[bool] = False

    def first(self, prompts: Sequence[str], *, total: int, history: PromptStats) -> list[int]:
        """`total` in equal parts. The history is not looked at."""
        return even_split(total, len(prompts))
