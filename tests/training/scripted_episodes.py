"""Episodes out of one function, and engines that answer them and remember what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from memagent.types import user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from helpers.checkpoints import character_tokenizer, tiny_llama

from memagent_training.engines.base import Completion, Prompt
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import Episode, EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.rollouts.driver import Job, roll_out
from memagent_training.tokenization import PolicyTokenizer

TOKENIZER = character_tokenizer()
END = TOKENIZER.eos_token_id
SEED = 7353876274327062047


class Engine:
    """Answers every prompt by `say`; remembers the calls."""

    name = "test"

    def __init__(self, say: Callable[[Prompt], Completion] | None = None) -> None:
        self.say = say or (lambda prompt: Completion(ids=(prompt.attempt % 10, END)))
        self.calls: list[list[Prompt]] = []
        self.seeds: list[int] = []

    def start(self, trainer: Any) -> None: ...

    def batch(self, version: int) -> AbstractContextManager[None]:
        return nullcontext()

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        self.calls.append(list(prompts))
        self.seeds.append(seed)
        return [self.say(prompt) for prompt in prompts]


class Episodes(PlainBatches):
    """An objective out of one generator function."""

    gives: Rewards = Rewards(ranges={"answer": None})

    def __init__(self, run: Callable[[Task, int], Episode]) -> None:
        self.run = run

    def episode(self, task: Task, *, seed: int) -> Episode:
        return self.run(task, seed)


def policy_tokenizer(*, template: bool = False) -> PolicyTokenizer:
    model, tokenizer = tiny_llama()
    if not template:
        tokenizer.chat_template = None
    return PolicyTokenizer(tokenizer, model.config)


def jobs(*names: str, attempts: int = 1) -> list[Job]:
    return [
        Job(task={"id": name}, group_id=f"0:{at}", attempt=turn) for at, name in enumerate(names) for turn in range(attempts)
    ]


def rolled(run: Callable[[Task, int], Episode], some: Sequence[Job], engine: Any = None, **options: Any) -> list[Any]:
    return roll_out(
        some,
        objective=Episodes(run),
        engine=engine or Engine(),
        tokenizer=options.pop("tokenizer", None) or policy_tokenizer(),
        **{"seed": 1} | options,
    )


def turns(count: int) -> Callable[[Task, int], Episode]:
    def run(task: Task, seed: int) -> Episode:
        for turn in range(count):
            yield PolicyRequest((user_message(f"{task['id']}{turn}"),), max_tokens=3)
        return EpisodeResult(rewards={"answer": 1.0})

    return run


class Requests:
    """Answers each prompt after `seconds` of it; remembers what was asked, and how many were never answered."""

    name = "requests"

    def __init__(self, seconds: Callable[[Prompt], float] = lambda prompt: 0.0) -> None:
        self.seconds = seconds
        self.asked: list[Prompt] = []
        self.given_up = 0

    def start(self, host: Any) -> None: ...

    def batch(self, version: int) -> AbstractContextManager[None]:
        return nullcontext()

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        try:
            await asyncio.sleep(self.seconds(prompt))
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return Completion(ids=(prompt.seed % 10, END))
