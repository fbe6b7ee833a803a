"""What an allocator is: it decides how many rollouts each prompt of a batch gets.

`first` is asked once, before anything is generated. `more` is asked after every round of rewards until it says None.
Both are decided by one process and told to the others. Allocators hold no state: what they know of the past is the
`PromptStats` they are given, which is in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from memagent_training.grpo.needs import Range
from memagent_training.grpo.prompt_stats import PromptStats


class Allocator(Protocol):
    """Counts for prompts. A part is a dataclass: its fields are its settings in a recipe."""

    name: ClassVar[str]
    ragged: ClassVar[bool]
    """Whether groups of one batch may differ in size."""

    def check(self, *, prompts: int, group_size: int) -> None:
        """Raises `ConfigError` where its settings cannot be kept in batches of so many prompts and nominal rollouts of each."""
        ...

    def first(self, prompts: Sequence[str], *, total: int, history: PromptStats) -> list[int]:
        """Rollouts for each prompt id, in order; `total` is prompts x nominal group size. Empty in, empty out."""
        ...

    def more(
        self, rewards: Sequence[Sequence[float]], *, priors: Sequence[float | None], bounds: Range | None
    ) -> list[int] | None:
        """Further rollouts for each prompt, given all its rewards so far; None when no prompt needs any.

        `priors` and `bounds` as for `Baseline.advantages`.
        """
        ...

    def metrics(self, *, history: PromptStats) -> dict[str, float]:
        """What decided the next `first`, for the log."""
        ...


class OneRound:
    """The usual end of an allocator, to inherit from: any batch, nothing more after the first round, nothing to log."""

    def check(self, *, prompts: int, group_size: int) -> None:
        """Every batch will do."""

    def more(
        self, rewards: Sequence[Sequence[float]], *, priors: Sequence[float | None], bounds: Range | None
    ) -> list[int] | None:
        """Nothing further."""
        return None

    def metrics(self, *, history: PromptStats) -> dict[str, float]:
        """Nothing of its own."""
        return {}
