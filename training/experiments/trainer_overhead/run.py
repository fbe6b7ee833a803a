"""What our trainer costs beside TRL's own, and whether allocation and packing stay out of the way.

    python -m training.experiments.trainer_overhead.run [--out DIR] [--steps 60] [--json]

Both trainers do the same fixed-group job: the same tiny Llama, tasks, sampling settings and loss, groups of fixed size, one
answer a rollout, sampled by the model's own `generate`. They take turns in blocks of a few optimizer steps in one process, so
that whatever else the machine does hits both. A step is everything from one optimizer step to the next: drawing, sampling,
scoring, rows, loss, update, log. The ratio is that of the median step times; its interval resamples pairs of blocks. The
learning rate is too small to matter, so that all steps sample texts of the same lengths.

Allocation and packing are timed apart, best of several calls: CoBA-RL's budgets for 512 prompts with 8,192 rollouts, against
the optimum of an exact dynamic program, and 4,096 segments packed for 8 processes x 4 micro-batches. The last lines are the
bars; the exit status is 1 when one is missed.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import numpy as np

from memagent.evaluation.metrics import Estimate
from memagent.evaluation.report import Report, Row, machine_facts
from memagent_training.grpo import coba_allocate, coba_shape, coba_tau, coba_value, pack
from memagent_training.grpo.allocators.solvers import dp_allocate
from memagent_training.tasks import Cipher
from training.experiments.bars import Bar

OURS, STOCK = "ours", "trl"
BLOCK = 4
"""Timed steps of a block; one more before them is not timed."""
PROMPTS, ROLLOUTS, LOW, HIGH = 512, 8192, 2, 128
SEGMENTS = 4096
RATIO, ALLOCATE_MS, GAP, PACK_MS = 1.10, 200.0, 1e-9, 50.0
"""The bars: step time over TRL's, milliseconds of CoBA-RL, its relative distance from the optimum, milliseconds of packing."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What both trainers do."""

    name: str
    digits: int
    """Of every answer."""
    prompts: int
    group_size: int
    width: int = 64
    layers: int = 2

    @property
    def family(self) -> Cipher:
        """The tasks."""
        return Cipher(n_ops=4, min_length=self.digits, max_length=self.digits, test_share=0.0)


JOBS = (
    Job(name="demo: 512 answers of 1 digit", digits=1, prompts=32, group_size=16),
    Job(name="128 answers of 24 digits", digits=24, prompts=16, group_size=8),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save. Returns the exit status: 0 when every bar is met."""
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m training.experiments.trainer_overhead.run", description=about)
    parser.add_argument("--out", type=Path, metavar="DIR", help="save the report and its table here")
    parser.add_argument("--steps", type=int, default=60, help="timed optimizer steps of each trainer and job (default 60)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON and nothing else")
    options = parser.parse_args(arguments)
    if options.steps < 2 * BLOCK:
        parser.error(f"--steps is {options.steps}; give at least {2 * BLOCK}, two blocks")

    started = perf_counter()
    rows = [*allocation_rows(), *packing_rows()]
    for job in JOBS:
        rows += step_rows(job, steps=options.steps)
    bars = judge(rows)
    meta = {
        "steps": options.steps,
        "block": BLOCK,
        "bars": [bar._asdict() for bar in bars],
        "seconds": round(perf_counter() - started, 1),
        **machine_facts(),
    }
    report = Report(name="bench_trainer", rows=rows, meta=meta)
    if options.json:
        print(report.model_dump_json())
    else:
        print("\n".join([report.markdown(), *(bar.line() for bar in bars)]))
    if options.out:
        print("saved " + ", ".join(map(str, report.save(options.out))), file=sys.stderr)
    return 0 if all(bar.met for bar in bars) else 1


# -- steps ------------------------------------------------------------------------------------------------------------------


def step_rows(job: Job, *, steps: int) -> list[Row]:
    """Step times of both trainers on a job, in milliseconds, and their ratio."""
    import torch
    from transformers.utils import logging

    from memagent_training.run import silence_warnings

    silence_warnings()
    logging.set_verbosity_error()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        arms = {STOCK: _stock(job, Path(folder)), OURS: _ours(job, Path(folder))}
        times = alternate({name: trainer_blocks(trainer) for name, trainer in arms.items()}, blocks=-(-steps // BLOCK))
    torch.set_num_threads(threads)
    gc.unfreeze()
    n = len(times[OURS]) * BLOCK
    rows = [
        Row(
            method=name, metric="step_ms", at=job.name, value=1e3 * median(time for block in times[name] for time in block), n=n
        )
        for name in arms
    ]
    return [*rows, Row.of(OURS, "ratio", job.name, ratio_interval(times[OURS], times[STOCK]))]


def alternate(arms: dict[str, Callable[[], list[float]]], *, blocks: int) -> dict[str, list[list[float]]]:
    """Run the arms in turn, each first in every second round; a round before the others is thrown away."""
    times: dict[str, list[list[float]]] = {name: [] for name in arms}
    for number in range(blocks + 1):
        for name in list(arms) if number % 2 else reversed(list(arms)):
            found = arms[name]()
            if number:
                times[name].append(found)
    return times


def ratio_interval(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *, seed: int = 0) -> Estimate:
    """Median of `first` over median of `second`, (blocks, steps) each, with a 95 % bootstrap interval over pairs of blocks."""
    above, below = np.asarray(first), np.asarray(second)
    drawn = np.random.default_rng(seed).integers(0, len(above), (2000, len(above)))
    ratios = [np.median(above[places]) / np.median(below[places]) for places in drawn]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Estimate(float(np.median(above) / np.median(below)), float(low), float(high), above.size)


def trainer_blocks(trainer: Any) -> Callable[[], list[float]]:
    """A function that trains a block more and gives the seconds of its timed steps."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(perf_counter())

    trainer.add_callback(Clock())
    gc.collect()
    gc.freeze()  # accelerate collects garbage when a block starts

    def block() -> list[float]:
        ends.clear()
        trainer.train()
        return [after - before for before, after in pairwise(ends)]

    return block


def _settings(job: Job, folder: Path) -> Any:
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=job.prompts * job.group_size,
        num_generations=job.group_size,
        max_completion_length=job.family.max_answer + 1,
        max_steps=BLOCK + 1,
        learning_rate=1e-9,
        loss_type="dapo",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        seed=0,
    )


def _common(job: Job, folder: Path) -> dict[str, Any]:
    """Model, settings, tasks and tokenizer of a job, as constructors take them."""
    from datasets import Dataset

    from memagent_training.policy import TinyPolicy, build_policy

    policy = TinyPolicy(layers=job.layers, width=job.width, context=2 * job.digits + 8)
    model, tokenizer, _ = build_policy(policy, alphabet=job.family.alphabet, seed=0)
    rows = list({row["id"]: row for row in job.family.tasks(64 * job.prompts, seed=0)}.values())[: 8 * job.prompts]
    args = _settings(job, folder)
    return {"model": model, "args": args, "train_dataset": Dataset.from_list(rows), "processing_class": tokenizer}


def _stock(job: Job, folder: Path) -> Any:
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    family = job.family

    def reward(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        return [float(family.check({"answer": one}, text).correct) for text, one in zip(completions, answer, strict=True)]

    trainer = GRPOTrainer(reward_funcs=reward, **_common(job, folder))
    trainer.remove_callback(PrinterCallback)
    return trainer


def _ours(job: Job, folder: Path) -> Any:
    from transformers import PrinterCallback

    from memagent_training.objectives import SingleTurn
    from memagent_training.runs.checkpoints import attach
    from memagent_training.trainer import MemGRPOTrainer

    common = _common(job, folder)
    trainer = MemGRPOTrainer(common.pop("model"), objective=SingleTurn(job.family), **common)
    trainer.remove_callback(PrinterCallback)
    attach(trainer)
    return trainer


# -- allocation and packing ----------------------------------------------------------------------------------------------------


def allocation_rows(*, prompts: int = PROMPTS, rollouts: int = ROLLOUTS, high: int = HIGH) -> list[Row]:
    """CoBA-RL's time, and the relative distance of its value from the optimum of an exact dynamic program."""
    rates = np.random.default_rng(0).beta(0.8, 1.2, prompts).tolist()
    failure = 1 - float(np.mean(rates))
    alpha, beta = coba_shape(failure)
    at = f"{prompts} prompts, {rollouts} rollouts"

    def allocate(mode: Any) -> list[int]:
        return coba_allocate(rates, rollouts, low=LOW, high=high, mode=mode, failure=failure)

    values = coba_value(
        np.arange(LOW, high + 1, dtype=np.float64)[None, :],
        np.array(rates)[:, None],
        tau=coba_tau(rates),
        alpha=alpha,
        beta=beta,
    )  # (M, high - LOW + 1)
    best = dp_allocate(values, rollouts - LOW * prompts)
    everyone = np.arange(prompts)
    optimum = float(values[everyone, best].sum())
    found = float(values[everyone, np.array(allocate("paper")) - LOW].sum())
    times = {mode: best_ms(partial(allocate, mode)) for mode in ("paper", "released")}
    rows = [Row(method=f"coba {mode}", metric="allocate_ms", at=at, value=time) for mode, time in times.items()]
    return [*rows, Row(method="coba paper", metric="optimum_gap", at=at, value=abs(optimum - found) / optimum)]


def packing_rows(*, segments: int = SEGMENTS) -> list[Row]:
    """The time to pack segments of uneven lengths, without and with a token budget and pictures."""
    random = np.random.default_rng(0)
    lengths = list(zip(random.integers(16, 2048, segments).tolist(), random.integers(1, 1024, segments).tolist(), strict=True))
    seeing = (random.random(segments) < 0.3).tolist()
    ways: dict[str, dict[str, Any]] = {"plain": {}, "budget, pictures": {"token_budget": 32_768, "vision": seeing}}
    return [
        Row(
            method="packing",
            metric="pack_ms",
            at=f"{segments} segments, {name}",
            value=best_ms(partial(pack, lengths, world=8, micro_batches=4, **way)),
        )
        for name, way in ways.items()
    ]


def best_ms(call: Callable[[], object], *, repeats: int = 7) -> float:
    """The shortest of several calls, in milliseconds: what it takes when nothing is in the way."""
    found = []
    for _ in range(repeats):
        started = perf_counter()
        call()
        found.append(perf_counter() - started)
    return 1e3 * min(found)


# -- bars ----------------------------------------------------------------------------------------------------------------------


def judge(rows: Sequence[Row]) -> list[Bar]:
    """The bars of the issue."""
    limits = {
        "ratio": ("step time over TRL's", RATIO),
        "allocate_ms": ("milliseconds to allocate", ALLOCATE_MS),
        "optimum_gap": ("relative distance from the optimum", GAP),
        "pack_ms": ("milliseconds to pack", PACK_MS),
    }
    bars = []
    for row in rows:
        if row.metric in limits:
            name, limit = limits[row.metric]
            bars.append(Bar(f"{name}, {row.method}, {row.at}", row.value < limit, row.value, limit))
    return bars


if __name__ == "__main__":
    sys.exit(main())
