"""The groups of a generation batch: which tasks are tried how often, over all processes, until nobody asks for more.

The objective chooses the tasks and the allocator their attempts; each process runs its share of the episodes (`driver`) and
gets those of the others, so that every process ends with the same groups. What the world made fail is left out (`failures`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from memagent_training.engines import RolloutEngine
from memagent_training.grpo.allocators.base import Allocator
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.rollout import Group, Rollout
from memagent_training.objectives.base import Objective, Task
from memagent_training.rollouts.driver import Job, roll_out, seed_of
from memagent_training.rollouts.failures import RaisedElsewhere, failure_metrics, from_all, sound_groups
from memagent_training.rollouts.workers import WorkerPool
from memagent_training.tokenization import PolicyTokenizer


@dataclass(frozen=True, kw_only=True)
class GroupRoller:
    """Rolls groups out; all processes call the same methods with the same arguments."""

    objective: Objective
    allocator: Allocator
    judge: Judge
    """Its prior and history are the allocator's too."""
    engine: RolloutEngine
    tokenizer: PolicyTokenizer
    accelerator: Any
    seed: int
    """Of the run."""
    version: int
    """Of the policy that samples: optimizer steps done."""
    pool: WorkerPool
    """Does the work items of episodes."""
    max_failed: float
    """Share of a batch's rollouts that may fail; above it `EngineError` ends the run."""

    def roll_batch(self, drawn: Sequence[Task], *, step: int, size: int) -> tuple[list[Group], dict[str, float]]:
        """Groups to train on, `size` attempts at a task on average, and metrics of what failed. `step` counts batches."""
        look = f"{step}-look"  # rollouts that are not trained on, for objectives that build their tasks from them

        def roll(some: Sequence[Task], n: int) -> list[Rollout]:
            return [one for one in chain.from_iterable(self._roll(some, [n] * len(some), visit=look)) if one.failed is None]

        tasks = list(self.objective.batch(drawn, step=step, roll=roll))
        ids = [str(task["id"]) for task in tasks]
        counts = self._decided(partial(self.allocator.first, ids, total=len(tasks) * size, history=self.judge.history))
        groups = self._roll(tasks, counts, visit=str(step))
        score = self.objective.gives.primary_score
        priors, bounds = [self.judge.expected(name, score) for name in ids], self.judge.range_of(score)
        while True:
            sound = sound_groups(groups, priors=priors, max_failed=self.max_failed)
            rewards = [[score.of(rollout) for rollout in group] for group in sound]
            more = self._decided(partial(self.allocator.more, rewards, priors=priors, bounds=bounds))
            if more is None:
                return [group for group in sound if group], failure_metrics(groups)
            further = self._roll(tasks, more, visit=str(step), after=[len(group) for group in groups])
            groups = [[*group, *new] for group, new in zip(groups, further, strict=True)]

    def roll_evaluation(self, drawn: Sequence[Task], *, step: int, size: int) -> list[Group]:
        """`size` attempts at each task, whatever objective and allocator would choose."""
        groups = self._roll(drawn, [size] * len(drawn), visit=f"eval-{step}")
        return [group for group in sound_groups(groups, priors=None, max_failed=self.max_failed) if group]

    def _roll(
        self, tasks: Sequence[Task], counts: Sequence[int], *, visit: str, after: Sequence[int] | None = None
    ) -> list[Group]:
        """So many attempts at each task, dealt to the processes in turn; every process gets all of them back."""
        taken = after or [0] * len(tasks)
        jobs = [
            Job(
                task=task,
                group_id=f"{visit}:{place}",
                attempt=taken[place] + attempt,
                run_seed=self.seed,
                version=self.version,
            )
            for place, task in enumerate(tasks)
            for attempt in range(counts[place])
        ]
        try:
            done = roll_out(
                jobs[self.accelerator.process_index :: self.accelerator.num_processes],
                objective=self.objective,
                engine=self.engine,
                tokenizer=self.tokenizer,
                seed=seed_of(self.seed, visit, sum(taken), self.accelerator.process_index),
                pool=self.pool,
                any_rank_active=lambda here: any(from_all(here)),
            )
        except RaisedElsewhere:
            raise
        except Exception as error:
            from_all(error)  # so that the others end too, and with the same words
            raise
        everyone = {rollout.id: rollout for share in from_all(done) for rollout in share}
        groups: list[list[Rollout]] = [[] for _ in tasks]
        for job in jobs:
            groups[int(job.group_id.rsplit(":", 1)[1])].append(everyone[job.id])
        return list(groups)

    def _decided(self, decide: Callable[[], list[int] | None]) -> Any:
        """What the first process decides, told to all."""
        return from_all(decide() if self.accelerator.is_main_process else None)[0]
