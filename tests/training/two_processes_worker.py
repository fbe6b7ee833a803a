"""Runs of `scripted_runs` that must come out the same on any number of processes; what `test_two_processes` starts twice.

    RANK=0 WORLD_SIZE=2 ... python two_processes_worker.py SCENARIO[,SCENARIO...] FOLDER

Each process writes `FOLDER/<scenario>-<rank>.pt`: parameters, rollouts with rewards, advantages by rollout, and the log.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from scripted_runs import Graded, Run, Sizes, Talk, ours, policy, rows, said

from memagent.memory.memocr.loops import Loop
from memagent_training.grpo.allocators import CobaAllocator, SequentialAllocator
from memagent_training.grpo.baselines import V05Baseline
from memagent_training.grpo.credit import HianCredit
from memagent_training.grpo.priors import ConstantPrior
from memagent_training.objectives import SelfVerify, SingleTurn
from memagent_training.objectives.base import EpisodeResult, Roll, Task
from memagent_training.rollouts.driver import seed_of
from memagent_training.tasks import Cipher

WORLD = int(os.environ.get("WORLD_SIZE", "1"))


def short(ids: Sequence[int], attempt: int) -> list[int]:
    """Three characters."""
    return said(ids, attempt, longest=3, even=True)


def turns_of(task: Task) -> int:
    """1 to 3, by the task."""
    return 1 + seed_of(task["id"]) % 3


class Skipping(Graded):
    """Every second batch holds nothing to train on."""

    def batch(self, drawn: Sequence[Task], *, step: int, roll: Roll) -> Sequence[Task]:
        return [] if step % 2 else drawn


def run(folder: Path, *, per_step: int = 8, parts: dict[str, Any] | None = None, **settings: Any) -> Run:
    """`ours` with `per_step` nominal rows an optimizer step, over all processes."""
    from datasets import Dataset

    rows_each = per_step // WORLD // settings.get("gradient_accumulation_steps", 1)
    few = {"train_dataset": Dataset.from_list(rows(4))}  # prompts come back, so that histories matter
    defaults: dict[str, Any] = {"loss_type": "dapo", "max_steps": 3, "per_device_train_batch_size": rows_each}
    return ours(folder, parts=few | (parts or {}), **(defaults | settings))


def uniform(folder: Path) -> Run:
    """Fixed groups, two epochs of each batch, the row mean as loss, gradients clipped."""
    return run(folder, loss_type="grpo", num_iterations=2, max_steps=4, max_grad_norm=0.02)


def coba(folder: Path) -> Run:
    """Ragged groups by what was learned of the prompts."""
    return run(folder, per_step=16, parts={"allocator": CobaAllocator(low=2, high=8)})


def sequential(folder: Path) -> Run:
    """As many rounds of rollouts as V0.5 asks for; accumulation."""
    parts = {
        "allocator": SequentialAllocator(k_init=3, k_max=8, cost=2e-3),
        "baseline": V05Baseline(),
        "prior": ConstantPrior(constant=0.7),  # the history's would be right: the script says the same at every visit
    }
    return run(folder, parts=parts, gradient_accumulation_steps=2, max_steps=4)


def talk(folder: Path) -> Run:
    """Dialogues of 1 to 3 turns, a segment a turn, groups of 3 and 2, credit by turn, parts within a token budget."""
    parts = {"allocator": Sizes(sizes=(3, 2)), "credit": HianCredit(), "token_budget": 48}
    objective = Talk(roles=("turn", "answer", "turn"), turns=turns_of)
    return run(folder, parts=parts, objective=objective, script=short, gradient_accumulation_steps=2, num_iterations=2)


def packed(folder: Path) -> Run:
    """As `talk`, rows end to end."""
    parts = {"allocator": Sizes(sizes=(3, 2)), "credit": HianCredit(), "token_budget": 48, "layout": "packed"}
    objective = Talk(roles=("turn", "answer", "turn"), turns=turns_of)
    return run(folder, parts=parts, objective=objective, script=short, gradient_accumulation_steps=2, num_iterations=2)


def lone(folder: Path) -> Run:
    """A single rollout: one process has nothing to say and nothing to train on."""
    return run(folder, parts={"allocator": Sizes(sizes=(1, 0))})


def skip(folder: Path) -> Run:
    """Batches without rows between others, and a loss that averages over rows."""
    return run(
        folder,
        loss_type="grpo",
        objective=Skipping(),
        optim="adamw_torch",
        learning_rate=1e-3,
        adam_epsilon=1e-2,
        weight_decay=0.5,
    )


def kl(folder: Path) -> Run:
    """With a reference model, an odd number of rows."""
    model = policy(folder / "policy")
    return run(folder, parts={"allocator": Sizes(sizes=(4, 3))}, model=model, beta=0.3)


def sampled(folder: Path) -> Run:
    """Sampled by the policy itself, dialogues of unequal length, few rollouts."""
    parts = {"allocator": Sizes(sizes=(2, 1))}
    return run(folder, parts=parts, objective=Talk(turns=turns_of), script=None)


def verifying(folder: Path) -> Run:
    """Self-verification, sampled: batches of generation and of verification, of any size or none."""
    from datasets import Dataset

    from memagent_training.policy import TinyPolicy, build_policy

    family = Cipher(n_ops=2, min_length=1, max_length=1, test_share=0.0)
    model = build_policy(TinyPolicy(width=16, layers=1, heads=2), alphabet=family.alphabet, seed=1)[:2]
    objective = SelfVerify(SingleTurn(family), strategy="verify_alter", interval=2, n=8, seed=0, prompts=family)
    data = Dataset.from_list(list({row["id"]: row for row in family.tasks(40, seed=0)}.values()))
    options = {"num_generations": 8, "per_step": 32, "max_steps": 6}
    return run(folder, parts={"train_dataset": data}, objective=objective, script=None, model=model, **options)


class Breaking(Graded):
    """Process 1 has a bug."""

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        if os.environ.get("RANK") == "1":
            raise ZeroDivisionError("a bug of process 1")
        return (yield from super().episode(task, seed=seed))


def broken(folder: Path) -> str:
    """What ends a run in which one process breaks."""
    try:
        run(folder, objective=Breaking())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


SCRIPTED: dict[str, Callable[[Path], Run]] = {
    one.__name__: one for one in (uniform, coba, sequential, talk, packed, lone, skip, kl)
}
SAMPLED: dict[str, Callable[[Path], Run]] = {one.__name__: one for one in (sampled, verifying)}


def record(name: str, folder: Path) -> dict[str, Any]:
    """Run a scenario; what it did."""
    import memagent_training.trainer
    from memagent_training.rows.batch import to_rows

    learned: list[list[tuple[str, list[float]]]] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        made = to_rows(*arguments, **options)
        learned.append([(row.rollout_id, row.advantages.tolist()) for row in made])
        return made

    with patch.object(memagent_training.trainer, "to_rows", noted):
        done = (SCRIPTED | SAMPLED)[name](folder / name)
    timeless = [
        {key: value for key, value in log.items() if "time" not in key and "per_second" not in key} for log in done.logs
    ]
    return {"parameters": done.parameters, "rolled": done.rolled, "learned": learned, "logs": timeless}


def main() -> None:
    """Run the scenarios named on the command line, one after the other."""
    import torch

    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    for name in sys.argv[1].split(","):
        done = broken(folder / name) if name == "broken" else record(name, folder)
        torch.save(done, folder / f"{name}-{os.environ['RANK']}.pt")
    gc.collect()  # wrapped models keep the threads of the group alive, see `memagent_training.run.finish`
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
