"""`Environment`: a world in which an agent acts, for evaluation and for reinforcement learning.

`tasks` lists what there is to do, `reset` begins an episode of a task, `step` takes what the agent says or does. All draws
come from the seed of `reset`, so that an episode can be replayed from its actions alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

Task = TypeVar("Task")


@dataclass(frozen=True)
class Observation:
    """What the agent gets to see, and what its last action was worth."""

    text: str
    reward: float = 0.0
    """Of the last action; 0 after `reset`."""
    turn_rewards: Mapping[int, float] = field(default_factory=dict)
    """Turn to a reward that became known with this step; turns without one are absent."""
    done: bool = False
    """Whether the episode is over; no `step` follows."""


class Environment(Protocol[Task]):
    """A seeded world."""

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split, in an order that never changes."""
        ...

    def reset(self, task: Task, seed: int) -> Observation:
        """Begin an episode."""
        ...

    def step(self, action: str) -> Observation:
        """Take an action of the agent."""
        ...
