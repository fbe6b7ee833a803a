"""What the parts of a recipe ask of each other, declared by each part and compared before anything is loaded.

An objective gives rewards (`Rewards`); a task gives rows of one form; a policy has features. A part that needs some of these
says so in its attribute `needs`. The recipe compares declarations and knows no part by its name, so a part from another package
is checked like one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from memagent.errors import ConfigError
from memagent_training.grpo.rollout import Rollout, reward_of
from memagent_training.grpo.validate import SLACK, rewards_of

Range = tuple[float, float]
"""Least and largest reward."""
Feature = Literal["pictures", "chat"]
"""Of a policy: it sees pictures; its tokenizer has a chat template."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What an attempt is judged by: `scale` times a reward, plus `turns` times the sum of its turn rewards."""

    key: str | None = None
    """Of the reward; None: the sum of all."""
    scale: float = 1.0
    """At least 0."""
    turns: float = 0.0
    """At least 0."""

    def __str__(self) -> str:
        reward = "the sum of all rewards" if self.key is None else f"the reward `{self.key}`"
        return reward if self.turns == 0 else f"{reward} with the turn rewards"

    def of(self, rollout: Rollout) -> float:
        """The score of an attempt. Raises `InputError` for one that lacks the reward `key`."""
        reward = self.scale * reward_of(rollout, key=self.key)
        return reward if self.turns == 0 else reward + self.turns * float(rewards_of(rollout.turn_rewards).sum())


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """What the episodes of an objective end with."""

    ranges: Mapping[str, Range | None]
    """By reward key; None where a reward has no bounds. An episode may lack a key."""
    primary: str | None = None
    """The reward that allocators look at; None: the sum of all."""
    turns: bool = False
    """Whether each turn has a reward of its own."""
    turn_total: Range | None = None
    """Of the sum of an episode's turn rewards; None: not known beforehand."""
    correct: bool = True
    """Whether an episode says if it was right, which pass rates are counted from."""
    checked: frozenset[str] = frozenset()
    """Keys of rewards that say no more than that: the largest where the episode was right, else the least."""
    skips: bool = False
    """Whether a batch may have nothing to train on."""
    several: bool = False
    """Whether an episode is several conversations, each a training row of its own."""

    @property
    def primary_score(self) -> Score:
        """What allocators look at."""
        return Score(key=self.primary)

    def range_of(self, score: Score) -> Range | None:
        """Of a score; None where a part of it has no bounds."""
        kept = [self.ranges[score.key]] if score.key is not None else list(self.ranges.values())
        parts = [(score.scale, one) for one in kept] + ([(score.turns, self.turn_total)] if score.turns else [])
        known = [(factor * one[0], factor * one[1]) for factor, one in parts if one is not None]
        return (sum(low for low, _ in known), sum(high for _, high in known)) if len(known) == len(parts) else None

    def is_checked(self, score: Score) -> bool:
        """Whether a score says no more than whether an attempt was right."""
        keys = set(self.ranges) if score.key is None else {score.key}
        return len(keys) == 1 and keys <= self.checked and score.turns == 0

    def check(self, rollout: Rollout, *, objective: str) -> None:
        """Raises `ConfigError` for a reward that `objective` did not declare, or that lies outside its range."""
        turns = {"the sum of turn rewards": float(rewards_of(rollout.turn_rewards).sum())} if rollout.turn_rewards else {}
        ranges = {**self.ranges, "the sum of turn rewards": self.turn_total}
        for key, reward in {**rollout.rewards, **turns}.items():
            if key not in ranges:
                raise ConfigError(
                    f'objective "{objective}" gave rollout `{rollout.id}` a reward `{key}`, which it does not declare; its '
                    f"`gives` names {', '.join(self.ranges)}"
                )
            low, high = ranges[key] or (reward, reward)
            if not low - (slack := SLACK * (high - low)) <= reward <= high + slack:
                raise ConfigError(
                    f'objective "{objective}" gave rollout `{rollout.id}` {reward:g} as {key}, and declares {low:g} to '
                    f"{high:g}; mend the rewards or its `gives`: baselines and priors rely on it"
                )


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a part asks of the others. The default asks for nothing."""

    rewards: tuple[str, ...] = ()
    """Reward keys without which it fails."""
    turn_rewards: bool = False
    """A reward for each turn: without them the part would do less than its name says."""
    correct: bool = False
    """Pass rates."""
    checked: bool = False
    """Rewards that say no more than whether an attempt was right, where it is used."""
    range: bool = False
    """The range of what it judges by."""
    prior: bool = False
    """What to expect of a prompt: without such a part nobody asks the prior."""
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
