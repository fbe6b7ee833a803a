"""The study: arms none, std and full of several seeds, on chain lengths that training showed and on longer ones.

    python -m training.experiments.memocr.run --out out/memocr

Questions are about worlds and names that training never showed; those of four hops follow longer chains than any in training.
Everything is kept in --out and taken up again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch

from memagent.errors import MemAgentError
from memagent.evaluation.report import Report, machine_facts
from memagent.evaluation.runner import Progress, failures_of, fingerprint
from memagent_training.run import silence_warnings
from memagent_training.runs.callbacks import read_metrics
from training.experiments.memocr.evaluate import Runs, checks, read_by_ocr, study_rows, test_drafts
from training.experiments.memocr.figures import plot_accuracy, plot_training
from training.experiments.memocr.page import MODES
from training.experiments.memocr.settings import ARMS, StudySettings
from training.experiments.memocr.train import trained_policy


def say(text: str) -> None:
    """Print what is going on."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def study(
    settings: StudySettings,
    out: Path,
    *,
    arms: Sequence[str],
    seeds: Sequence[int],
    questions: int,
    budgets: Sequence[int],
    workers: int,
) -> tuple[Report, Runs]:
    """Train, draft and read; the report, and the pages by arm and seed. `questions` of each chain length and seed."""
    began, runs = time.perf_counter(), {}
    for seed in seeds:
        for arm in arms:
            say(f"{settings.mode}, seed {seed}, arm {arm}")
            policy = trained_policy(settings, out, arm=arm, seed=seed, quiet=True)
            runs[arm, seed] = test_drafts(policy, settings, each=questions, seed=seed)
    say("reading pictures by OCR")
    file = out / f"readings-{fingerprint({'questions': questions, **asdict(settings)})}.jsonl"
    readings = read_by_ocr(runs, budgets, settings.mode, file=file, workers=workers, progress=Progress(say))
    rows = study_rows(runs, readings, settings)
    logs = {
        f"{arm}, seed {seed}": read_metrics(out / f"seed-{seed}" / arm / "metrics.jsonl") for arm, seed in runs if ARMS[arm]
    }
    meta = {
        **machine_facts(),
        "settings": asdict(settings),
        "checks": checks(rows),
        "failures": failures_of(readings),
        "seconds_of_a_batch": {name: batch_seconds(lines, updates=settings.rl.updates) for name, lines in logs.items()},
        "seconds": round(time.perf_counter() - began, 1),
    }
    report = Report(name=f"memocr_{settings.mode}", rows=rows, meta=meta)
    report.save(out)
    plot_accuracy(rows, out / f"accuracy-{settings.mode}.png")
    if logs:
        plot_training(logs, out / f"training-{settings.mode}.png")
    return report, runs


def batch_seconds(lines: Sequence[dict[str, Any]], *, updates: int) -> dict[str, float]:
    """Seconds of a generation batch by part, means over a log; nothing where fewer batches ran than a log line covers."""
    steps = [one for one in lines if "step_time" in one and "time/rollout" in one]
    if not steps:
        return {}
    rollout, reading, score = (fmean(one[f"time/{name}"] for one in steps) for name in ("rollout", "layout_and_read", "score"))
    update = updates * fmean(one["step_time"] for one in steps) - rollout - score
    return {"sampling": rollout - reading, "layout and reading": reading, "scoring": score, "update": update}


def print_report(report: Report) -> None:
    """A table for each group of chain lengths, a line for each check, and the time of a batch."""
    for length in dict.fromkeys(row.length for row in report.rows):
        rows = [row for row in report.rows if row.length == length]
        print(f"{length}\n\n{Report(name=report.name, rows=rows).markdown()}")
    for name, found in report.meta["checks"].items():
        print(f"{name}: " + ", ".join(f"{key} {value if key == 'good' else round(value, 3)}" for key, value in found.items()))
    for name, parts in report.meta["seconds_of_a_batch"].items():
        print(f"seconds of a batch, {name}: " + ", ".join(f"{part} {value:.2f}" for part, value in parts.items()))


def main(argv: list[str] | None = None) -> int:
    """Run the study; returns 0 when all checks of the `shrink` layout are good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/memocr"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=["none", "std", "full"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["shrink"])
    parser.add_argument("--budgets", type=int, nargs="+", default=[1024, 64, 16])
    parser.add_argument("--questions", type=int, default=10, help="of each chain length and seed")
    parser.add_argument("--batches", type=int, help="generation batches of RL in place of the default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that read")
    given = parser.parse_args(argv)

    silence_warnings()
    torch.set_num_threads(1)
    missed = False
    for mode in given.modes:
        report, _ = study(
            sized(StudySettings(mode=mode), given.batches),
            given.out / mode,
            arms=given.arms,
            seeds=given.seeds,
            questions=given.questions,
            budgets=given.budgets,
            workers=given.workers,
        )
        print(f"\n{mode}\n")
        print_report(report)
        missed = missed or (mode == "shrink" and not all(one["good"] for one in report.meta["checks"].values()))
    return int(missed)


def sized(settings: StudySettings, batches: int | None) -> StudySettings:
    """The settings with another number of generation batches."""
    return settings if batches is None else replace(settings, rl=replace(settings.rl, batches=batches))


def reported(main: Callable[[], int]) -> int:
    """The exit status of a script; one of our errors is one line."""
    try:
        return main()
    except MemAgentError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(reported(main))
