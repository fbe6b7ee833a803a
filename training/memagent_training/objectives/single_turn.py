"""The plain objective: ask once, check the reply, 1 for right and 0 for wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from memagent.errors import ConfigError
from memagent.memory.memocr.loops import Loop
from memagent.types import user_message
from memagent_training.grpo.needs import Needs, Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Setup, Task, check_temperature
from memagent_training.tasks.base import Check


class Checker(Protocol):
    """What marks replies: a `CharacterFamily`, or `BoxedAnswers` for mathematics."""

    @property
    def max_answer(self) -> int:
        """Characters of the longest answer."""
        ...

    def check(self, task: Mapping[str, object], text: str) -> Check:
        """Mark a reply."""
        ...


def check_max_tokens(max_tokens: int | None) -> None:
    """Raises `ConfigError` below 1."""
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"`max_tokens` is {max_tokens}; give at least 1, or leave it out for what the longest answer needs")


class SingleTurn(PlainBatches):
    """One question, one reply. Reward `answer` is 1.0 when the checker accepts it, else 0.0."""

    name: ClassVar[str] = "single_turn"
    gives: Rewards = Rewards(ranges={"answer": (0.0, 1.0)}, checked=frozenset({"answer"}))

    def __init__(self, family: Checker, *, max_tokens: int | None = None, temperature: float = 1.0) -> None:
        """`max_tokens` of a reply; None: one for each character of the longest answer and one for the end marker."""
        check_max_tokens(max_tokens)
        check_temperature(temperature)
        self.family = family
        self.max_tokens = family.max_answer + 1 if max_tokens is None else max_tokens
        self.temperature = temperature

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        """Ask `task["prompt"]`."""
        prompt = (user_message(str(task["prompt"])),)
        reply = yield PolicyRequest(prompt, max_tokens=self.max_tokens, temperature=self.temperature, seed=seed)
        found = self.family.check(task, reply.text)
        rewards = {"answer": float(found.correct)}
        return EpisodeResult(rewards=rewards, answer=found.answer, correct=found.correct, valid=found.valid)


@dataclass(frozen=True, kw_only=True)
class SingleTurnSettings:
    """`SingleTurn` in a recipe."""

    name: ClassVar[str] = "single_turn"
    gives: ClassVar[Rewards] = SingleTurn.gives
    needs: ClassVar[Needs] = Needs(tasks=("characters", "prompts"))
    max_tokens: int | None = None
    """Of a reply; None: what the task's longest answer needs."""

    def __post_init__(self) -> None:
        check_max_tokens(self.max_tokens)

    def reply_tokens(self, task: Checker) -> int:
        """One token for each character of the longest answer and one for the end, unless `max_tokens` is given."""
        return self.max_tokens or task.max_answer + 1

    def build(self, setup: Setup) -> SingleTurn:
        """With the task as the checker."""
        return SingleTurn(setup.task, max_tokens=self.max_tokens, temperature=setup.temperature)
