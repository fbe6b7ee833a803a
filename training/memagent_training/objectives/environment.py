"""Episodes in any `Environment` of memagent: what the policy says is the action, what the world pays is the reward.

Every action is a conversation of its own, so it becomes a training segment with the role that the environment gave it; turn
rewards come one for each, as the credits `hian` and `merged` want them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from memagent.environments.base import Environment, Episode, run_episode
from memagent.memory.memocr.loops import Loop
from memagent_training.grpo.needs import Needs, Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Setup, Task, check_temperature
from memagent_training.tasks.amemgym import AMemGymUsers


class InEnvironment(PlainBatches):
    """One episode an attempt, each in an environment of its own. Reward `answer` is the episode's."""

    name: ClassVar[str] = "environment"
    gives: Rewards = Rewards(ranges={"answer": (0.0, 1.0)}, turns=True, several=True)

    def __init__(self, make: Callable[[], Environment], *, temperature: float = 1.0, success: float = 1.0) -> None:
        """`success` is the reward from which an attempt counts as correct, for allocators and priors."""
        check_temperature(temperature)
        self._make = make
        self.temperature = temperature
        self.success = success

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        """Live through the task."""
        episode = run_episode(self._make(), task, seed=seed)
        try:
            seen = next(episode)
            while True:
                reply = yield PolicyRequest(
                    seen.messages, max_tokens=seen.max_tokens, temperature=self.temperature, seed=seed, role=seen.role
                )
                seen = episode.send(reply.text)
        except StopIteration as end:
            log: Episode = end.value
        last = log.actions[-1] if log.actions else None
        solved = log.reward >= self.success - 1e-9  # a sum of shares
        return EpisodeResult(rewards={"answer": log.reward}, turn_rewards=log.turn_rewards, answer=last, correct=solved)


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """`InEnvironment` in a recipe."""

    name: ClassVar[str] = "environment"
    gives: ClassVar[Rewards] = InEnvironment.gives
    needs: ClassVar[Needs] = Needs(tasks=("users",))

    def reply_tokens(self, task: AMemGymUsers) -> int:
        """Most tokens of an action."""
        return task.reply_tokens

    def build(self, setup: Setup) -> InEnvironment:
        """In the worlds of the task's users."""
        return InEnvironment(setup.task.worlds(setup.tasks, seed=setup.seed), temperature=setup.temperature)
