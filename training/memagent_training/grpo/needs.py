"""What the parts of a recipe ask of each other, declared by each part and compared before anything is loaded.

An objective gives rewards (`Rewards`); a task gives rows of one form; a policy has features. A part that needs some of these
says so in its attribute `needs`. The recipe compares declarations and knows no part by its name, so a part from another package
is checked like one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]
"""Least and largest reward."""
Feature = Literal["pictures", "chat"]
"""Of a policy: it sees pictures; its tokenizer has a chat template."""


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """What the episodes of an objective end with."""

    ranges: Mapping[str, Range]
    """By reward key."""
    primary: str | None = None
    """The reward that allocators and priors look at; None: the sum of all."""
    turns: bool = False
    """Whether each turn has a reward of its own."""
    turn_total: Range | None = None
    """Of the sum of an episode's turn rewards; None: not known beforehand."""
    correct: bool = True
    """Whether an episode says if it was right, which pass rates are counted from."""

    def range_of(self, key: str | None) -> Range:
        """Of one reward, or of the sum of all."""
        kept = [self.ranges[key]] if key is not None else list(self.ranges.values())
        return sum(low for low, _ in kept), sum(high for _, high in kept)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a part asks of the others. The default asks for nothing."""

    rewards: tuple[str, ...] = ()
    """Reward keys without which it fails."""
    turn_rewards: bool = False
    """A reward for each turn: without them the part would do less than its name says."""
    correct: bool = False
    """Pass rates."""
    range: Range | None = None
    """The range of rewards that it was set to, which must be the true one."""
    tasks: tuple[str, ...] = ()
    """Forms of tasks that it can do; empty: any."""
    alphabet: bool = False
    """A task that names the characters of its texts."""
    policy: frozenset[Feature] = frozenset()


NOTHING = Needs()


def needs_of(part: object) -> Needs:
    """What a part declares; nothing where it declares nothing."""
    needs = getattr(part, "needs", NOTHING)
    assert isinstance(needs, Needs), f"`needs` of {part!r} is {needs!r}"
    return needs
