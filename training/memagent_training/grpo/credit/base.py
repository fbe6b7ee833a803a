"""What credit assignment is: it spreads the advantages of rollouts over their segments and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import Needs, Score
from memagent_training.grpo.rollout import Group
from memagent_training.grpo.validate import Floats

TokenAdvantages = list[list[list[Floats]]]
"""For each group, each rollout, each segment: (T,) one advantage a token. Tokens with mask 0 have 0."""


class Credit(Protocol):
    """Groups of rollouts in, advantages of tokens out. A part is a dataclass: its fields are its settings in a recipe.

    A credit may have a `total(rollout)`, what the log calls a rollout's reward; without it that is the sum of its rewards.
    """

    name: ClassVar[str]

    @property
    def needs(self) -> Needs:
        """The reward keys without which `assign` fails, and whether it needs turn rewards."""
        ...

    @property
    def scores(self) -> tuple[Score, ...]:
        """What `assign` has judged by the baseline; empty where it asks for nothing."""
        ...

    def assign(self, groups: Sequence[Group], *, judge: Judge) -> TokenAdvantages:
        """The advantage of every token, before `Segment.weight`."""
        ...
