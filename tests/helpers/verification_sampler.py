"""Stand-ins for the trainer of self-verification: they draw tasks and roll them out with a coin, or right by turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memagent_training.grpo.rollout import Rollout
from memagent_training.objectives import Objective, SelfVerify, SingleTurn, Task
from memagent_training.objectives.self_verify import Strategy
from memagent_training.tasks.cipher import Cipher


class Sampler:
    """A stand-in for the trainer: rolls out tasks with a coin for a policy."""

    def __init__(self, objective: Objective, *, size: int = 8, n: int = 4, rate: float = 0.5) -> None:
        self.objective, self.size, self.n, self.rate = objective, size, n, rate
        self.rolled = 0
        self.steps = 0

    def draw(self, step: int) -> list[Task]:
        return [{"id": f"q{step * self.size + k}", "prompt": f"p{step * self.size + k}"} for k in range(self.size)]

    def roll(self, tasks: Sequence[Task], n: int) -> list[Rollout]:
        rng = np.random.default_rng([7, self.steps, self.rolled])
        self.rolled += 1
        return [self._attempt(task, f"{visit}", k, rng) for visit, task in enumerate(tasks) for k in range(n)]

    def _attempt(self, task: Task, group: str, k: int, rng: np.random.Generator) -> Rollout:
        right = bool(rng.random() < self.rate)
        verdict = ("Yes", "No")[int(rng.integers(2))]
        answer, correct = (verdict, verdict == task["label"]) if task.get("kind") == "verify" else (str(int(right)), right)
        rewards = {"answer": float(correct)}
        return Rollout(
            id=f"{group}/{k}",
            group_id=group,
            prompt_id=str(task["id"]),
            segments=(),
            rewards=rewards,
            answer=answer,
            correct=correct,
        )

    def step(self) -> list[Task]:
        tasks = list(self.objective.batch(self.draw(self.steps), step=self.steps, roll=self.roll))
        if tasks:
            self.objective.observe(self.roll(tasks, self.n))
        self.steps += 1
        return tasks


def kinds(tasks: Sequence[Task]) -> set[object]:
    return {task.get("kind", "question") for task in tasks}


def wrap(strategy: Strategy, **settings: int) -> SelfVerify:
    return SelfVerify(SingleTurn(Cipher()), strategy=strategy, **settings)  # type: ignore[arg-type]


class Alternating:
    """Rolls out, remembering with which version; every second answer is right."""

    def __init__(self, objective: SelfVerify, *, size: int, right: bool | None = None) -> None:
        self.objective, self.size, self.right = objective, size, right
        self.version = self.steps = 0
        self.rolled: list[tuple[int, str, int, int]] = []  # version, what, tasks, rollouts each

    def roll(self, tasks: Sequence[Task], n: int) -> list[Rollout]:
        self.rolled.append((self.version, "/".join(sorted({str(task.get("kind", "answer")) for task in tasks})), len(tasks), n))
        return [
            Rollout(
                id=f"{visit}.{k}",
                group_id=str(visit),
                prompt_id=str(task["id"]),
                segments=(),
                answer=str(k),
                correct=k % 2 == 0 if self.right is None else self.right,
            )
            for visit, task in enumerate(tasks)
            for k in range(n)
        ]

    def step(self) -> list[Task]:
        drawn: list[Task] = [{"id": f"{self.steps}:{k}", "prompt": f"{k}"} for k in range(self.size)]
        tasks = list(self.objective.batch(drawn, step=self.steps, roll=self.roll))
        self.steps += 1
        if tasks:
            self.objective.observe(self.roll(tasks, 8))
            self.version += 1
        return tasks


def alternating(strategy: Strategy, *, size: int = 6, right: bool | None = None) -> Alternating:
    return Alternating(SelfVerify(SingleTurn(Cipher()), strategy=strategy), size=size, right=right)
