"""A process that rolls out: one episode has its worker sleep, the other waits for an answer that does not come.

python -m helpers.rolling_program FILE SECONDS      # FILE: where the worker says who it is; SECONDS: that it sleeps
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from contextlib import nullcontext
from typing import Any

from helpers import pool_work
from memagent.types import user_message
from memagent_training.engines.base import Completion, Prompt
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import Episode, EpisodeResult, PlainBatches, PolicyRequest, Task, WorkItem
from memagent_training.rollouts.driver import Job, roll_out
from memagent_training.rollouts.workers import WorkerPool


class Silent:
    """An engine that never answers."""

    name = "silent"

    def start(self, host: Any) -> None:
        """Nothing to set up."""

    def batch(self, version: int) -> Any:
        """Nothing to set up."""
        return nullcontext()

    async def complete(self, prompt: Prompt) -> Completion:
        """Says when it is given up."""
        try:
            await asyncio.sleep(600)
        finally:
            print("given up", flush=True)
        return Completion(ids=(1,))


class Letters:
    """A tokenizer of one token."""

    def encode(self, ask: Any) -> Prompt:
        """The same for all."""
        return Prompt(ids=(1,))


class Both(PlainBatches):
    """Draws or asks, by its task."""

    gives = Rewards(ranges={"answer": None})

    def episode(self, task: Task, *, seed: int) -> Episode:
        """One of the two."""
        if task["id"] == "draw":
            yield WorkItem(pool_work.say_and_sleep, (sys.argv[1], float(sys.argv[2])))
        else:
            yield PolicyRequest((user_message("1"),))
        return EpisodeResult()


def main() -> None:
    """Roll out; whatever ends it, say which children are left."""
    pool = WorkerPool(1)
    jobs = [Job(task={"id": name}, group_id=f"0:{at}", attempt=0) for at, name in enumerate(("ask", "draw"))]
    tokenizer: Any = Letters()
    try:
        roll_out(jobs, objective=Both(), engine=Silent(), tokenizer=tokenizer, seed=0, pool=pool)
    finally:
        pool.close()
        print(f"children {multiprocessing.active_children()}", flush=True)


if __name__ == "__main__":
    main()
