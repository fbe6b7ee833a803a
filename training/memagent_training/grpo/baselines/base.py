"""What a baseline is: it turns the rewards of groups into advantages, one number a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from memagent_training.grpo.needs import Range
from memagent_training.grpo.validate import Floats


class Baseline(Protocol):
    """Rewards in, advantages out. A part is a dataclass: its fields are its settings in a recipe."""

    name: ClassVar[str]

    def advantages(
        self, groups: Sequence[Sequence[float]], *, priors: Sequence[float | None], bounds: Range | None
    ) -> list[Floats]:
        """One array (k_i,) for each group of k_i >= 0 rewards, in the same order.

        `priors` has one entry a group: the expected reward of the prompt, in reward units, or None when unknown. `bounds` is
        the range that rewards lie in, None where they have none.
        """
        ...
