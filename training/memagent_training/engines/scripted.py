"""Says what a function says: for tests, for replays, and for comparing runs that must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from memagent_training.engines.base import Completion, PolicyHost, Prompt

Script = Callable[[Prompt], Sequence[int]]
"""A prompt to token ids; `Prompt.attempt` tells the attempts of a group apart."""


@dataclass(kw_only=True)
class ScriptedEngine:
    """Token ids from `script`. Depends on the prompts alone, so any number of processes gives the same rollouts."""

    name: ClassVar[str] = "scripted"
    script: Script

    def available(self) -> str | None:
        """None: it needs nothing else."""
        return None

    def check(self, *, use_vllm: bool, adapters: bool) -> None:
        """It goes with everything."""

    def start(self, host: PolicyHost) -> None:
        """Nothing to set up."""

    def batch(self, version: int) -> AbstractContextManager[None]:
        """Nothing to set up: there are no weights."""
        return nullcontext()

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """What the script says, cut to each prompt's `max_tokens`."""
        said = []
        for prompt in prompts:
            ids = tuple(self.script(prompt))
            said.append(Completion(ids=ids[: prompt.max_tokens], finished=len(ids) <= prompt.max_tokens))
        return said
