"""What an environment for agents is: tasks, and episodes in which an agent observes, acts, and is rewarded.

An environment holds one episode at a time. `reset` begins one and `step` takes what the agent says; both return what it
is asked next and its reward since. All chance comes from the seed, so the same actions give the same episode, and an episode
can be replayed from its log (`Episode`). An action is the agent's text: untrusted, never executed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from memagent.errors import InputError
from memagent.types import Message

Task = Mapping[str, object]
"""What an episode is about. `id` (str) is stable; the rest, JSON values, belongs to the environment."""
Split = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the agent is asked next, and what its last action earned."""

    messages: tuple[Message, ...] = ()
    """The whole of what it sees; empty when the episode is over."""
    role: str = "turn"
    """What kind of action is asked for."""
    max_tokens: int = 512
    """Most tokens of the action."""
    reward: float = 0.0
    """Part of the episode's reward, which is the sum."""
    turn_rewards: tuple[float, ...] = ()
    """One for the last action; none before the first."""
    done: bool = False


class Environment(Protocol):
    """What an agent acts in. Not shared between threads."""

    def tasks(self, split: Split) -> list[Task]:
        """The tasks of a split, always the same."""
        ...

    def reset(self, task: Task, *, seed: int) -> Observation:
        """Begin an episode; one that was under way is forgotten. Raises `InputError` for an unknown task."""
        ...

    def step(self, action: str) -> Observation:
        """Act. Raises `InputError` where no episode is under way."""
        ...


class Episode(BaseModel):
    """The log of an episode: enough to replay it."""

    model_config = ConfigDict(frozen=True)

    task: dict[str, object]
    seed: int
    actions: tuple[str, ...]
    rewards: tuple[float, ...]
    """One for each action."""
    turn_rewards: tuple[float, ...]
    """One for each action."""

    @property
    def reward(self) -> float:
        """Of the whole episode."""
        return sum(self.rewards)


def run_episode(environment: Environment, task: Task, *, seed: int) -> Generator[Observation, str, Episode]:
    """An episode as a generator: yields what is asked, is sent actions, returns the log."""
    actions: list[str] = []
    seen = environment.reset(task, seed=seed)
    rewards: list[float] = []
    turns: list[float] = []
    while not seen.done:
        actions.append((yield seen))
        seen = environment.step(actions[-1])
        rewards.append(seen.reward)
        turns.extend(seen.turn_rewards)
    return Episode(task=dict(task), seed=seed, actions=tuple(actions), rewards=tuple(rewards), turn_rewards=tuple(turns))


def play_episode(environment: Environment, task: Task, *, seed: int, act: Callable[[Observation], str]) -> Episode:
    """Run an episode with an agent."""
    episode = run_episode(environment, task, seed=seed)
    try:
        seen = next(episode)
        while True:
            seen = episode.send(act(seen))
    except StopIteration as end:
        log: Episode = end.value
        return log


def replay_episode(environment: Environment, episode: Episode) -> list[Observation]:
    """Run a logged episode again. Returns its observations, action by action.

    Raises `InputError` where it comes out otherwise, as with other data or settings.
    """
    actions, seen = iter(episode.actions), []

    def again(observation: Observation) -> str:
        seen.append(observation)
        return next(actions, "")

    found = play_episode(environment, episode.task, seed=episode.seed, act=again)
    if found != episode:
        raise InputError(
            f"the episode of task {episode.task.get('id')!r} had {len(episode.actions)} actions and earned {episode.reward:g}, "
            f"now {len(found.actions)} and {found.reward:g}; replay it in the environment that it was logged in"
        )
    return seen
