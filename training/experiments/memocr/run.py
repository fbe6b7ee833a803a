"""MemOCR's ablation on a laptop: a policy learns to put what matters in large type, and a real OCR reads what it wrote.

    python -m training.experiments.memocr.run --out out/memocr-laptop

    accelerate launch -m training.experiments.memocr.run --model Qwen/Qwen2.5-VL-7B-Instruct --out out/memocr

The first trains the size policy of `training.experiments.memocr`: arms none (no RL), std (T_std alone), no_augm, full; both
layouts,
`shrink` (as published) and `fit`. Everything is kept in --out: a run that was cut off goes on where it stopped. Ends with
tables, plots, the bars and the shares of time. The second trains a vision-language model on the same worlds by the published
recipe; options that this script does not know go to `training.scripts.train`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from memagent.errors import MemAgentError
from memagent.evaluation.report import Report, Row, machine_facts
from memagent.evaluation.runner import end_with_parent
from training.experiments.memocr.judge import LARGE, Job, judge
from training.experiments.memocr.page import MODES, Mode
from training.experiments.memocr.plots import plot_accuracy, plot_density
from training.experiments.memocr.report import Found, Tables, accuracy_table
from training.experiments.memocr.settings import ARMS, SizeSettings
from training.experiments.memocr.study import Study
from training.scripts import train

BUDGETS = (1024, 256, 64, 32, 16)
RECIPE = "memocr-qwen25-vl-7b"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is run, beside the settings."""

    out: Path
    arms: Sequence[str] = tuple(ARMS)
    seeds: Sequence[int] = (11, 12, 13, 14, 15)
    questions: int = 20
    """Test questions of each seed."""
    full_size_questions: int = 5
    """The first so many of them are also read at budgets above `LARGE`, where the OCR takes five to ten seconds a page."""
    budgets: Sequence[int] = BUDGETS
    workers: int = os.cpu_count() or 1
    """Processes that read."""


def say(text: str) -> None:
    """Tell what goes on."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def reported(main: Callable[[], int]) -> int:
    """The exit status of a script; one of our errors is told in a line."""
    try:
        return main()
    except MemAgentError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code


def run_mode(settings: SizeSettings, options: Options) -> tuple[Tables, str]:
    """Train, draft and judge all arms of all seeds in one layout; also the fingerprint of the settings."""
    study = Study(options.out, settings, say=say)
    with ProcessPoolExecutor(options.workers, get_context("spawn"), end_with_parent) as pool:
        list(pool.map(partial(_train, settings, options), options.seeds))
    runs = [(arm, seed) for seed in options.seeds for arm in options.arms]
    drafted = {(arm, seed): study.drafted(arm, seed, questions=options.questions) for arm, seed in runs}
    jobs = [
        Job(arm, seed, tokens, drafted[arm, seed][number])
        for number in range(options.questions)  # a run that is cut off has read as much of every arm
        for arm, seed in runs
        for tokens in options.budgets
        if tokens <= LARGE or number < options.full_size_questions
    ]
    judged = judge(jobs, study.folder / "readings.jsonl", mode=settings.mode, workers=options.workers, say=say)
    found = [
        Found(
            arm,
            seed,
            pages,
            [one for one in judged if (one.arm, one.seed) == (arm, seed)],
            None if ARMS[arm] is None else study.history(arm, seed),
        )
        for (arm, seed), pages in drafted.items()
    ]
    return Tables(settings.mode, found, options.budgets), study.fingerprint


def _train(settings: SizeSettings, options: Options, seed: int) -> None:
    """Train the arms of a seed and write their pages, in a process of its own."""
    torch.set_num_threads(1)
    study = Study(options.out, settings, say=say)
    for arm in options.arms:
        study.drafted(arm, seed, questions=options.questions)


def main(argv: list[str] | None = None) -> int:
    """Run the study; returns 1 when a bar of the `shrink` layout is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/memocr-laptop"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(Options.seeds))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    parser.add_argument("--questions", type=int, default=Options.questions, help="test questions of each seed")
    parser.add_argument(
        "--full-size-questions",
        type=int,
        default=Options.full_size_questions,
        help=f"how many of them are read at more than {LARGE} tokens, too",
    )
    parser.add_argument("--steps", type=int, help="batches of rollouts in place of the default")
    parser.add_argument("--workers", type=int, default=Options.workers, help="processes that read")
    parser.add_argument("--json", action="store_true", help="the report on stdout, after the tables")
    parser.add_argument("--model", help="train this vision-language model instead: a folder, or a name where online")
    given, more = parser.parse_known_args(argv)
    if given.model:
        return train.main([*_published(given.model, given.out), *more])
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options = Options(
        out=given.out,
        arms=given.arms,
        seeds=given.seeds,
        questions=given.questions,
        full_size_questions=given.full_size_questions,
        budgets=given.budgets,
        workers=given.workers,
    )

    torch.set_num_threads(1)
    began, rows, meta, missed = time.perf_counter(), list[Row](), dict[str, object](), False
    several = []
    for mode in given.modes:
        settings = _settings(mode, given.steps)
        tables, fingerprint = run_mode(settings, options)
        several.append(tables)
        bars = tables.bars()
        missed = missed or (mode == "shrink" and any(isinstance(one, dict) and not one["good"] for one in bars.values()))
        rows += tables.rows()
        meta[mode] = {"settings": asdict(settings), "fingerprint": fingerprint, "bars": bars, **facts(tables)}
        histories = {
            arm: [one.history for one in tables.found if one.arm == arm and one.history] for arm in options.arms if ARMS[arm]
        }
        if histories:
            plot_density(histories, options.out / f"density-{mode}.png")
        print(f"\n{mode}\n\n{accuracy_table(tables)}")
        print_bars(bars)
        print(time_table(tables.seconds()))
    plot_accuracy(several, options.out / "accuracy.png")
    meta["seconds"] = round(time.perf_counter() - began, 1)
    report = Report(name="memocr_laptop", rows=rows, meta={**machine_facts(), **meta})
    files = report.save(options.out)
    if given.json:
        print(report.model_dump_json())
    print("written: " + ", ".join(map(str, files)), file=sys.stderr)
    return int(missed)


def _published(model: str, out: Path) -> list[str]:
    """Arguments of `training.scripts.train` for the published recipe on our worlds."""
    shape = SizeSettings()
    task = f'{{kind = "long_qa", facts = {shape.facts}, hops = {list(shape.hops)}, sentence_chars = {shape.sentence_chars}}}'
    changes = {"policy.path": model, "task": task}
    flags = [word for place, value in changes.items() for word in ("--set", f"{place}={value}")]
    return ["--recipe", RECIPE, "--out", str(out), *flags]


def _settings(mode: Mode, steps: int | None) -> SizeSettings:
    settings = SizeSettings(mode=mode)
    return settings if steps is None else replace(settings, steps=steps)


def facts(tables: Tables) -> dict[str, Any]:
    """What stands in `meta` beside the rows."""
    failed = [one.error for found in tables.found for one in found.judged if one.error is not None]
    return {
        "eye_agreement": tables.agreement(),
        "failures": {"count": len(failed), "first": failed[:10]},
        "seeds": tables.seeds(),
    }


def print_bars(bars: dict[str, Any]) -> None:
    """A line for each bar."""
    for name, value in bars.items():
        parts = value if isinstance(value, dict) else {"share": value}
        print(f"{name}: " + ", ".join(f"{key} {round(one, 3)}" for key, one in parts.items()))


def time_table(seconds: Sequence[Mapping[str, float]]) -> str:
    """What parts of training took of its time; one mapping for each trained policy, "" for none."""
    if not seconds:
        return ""
    parts = {name: sum(one[name] for one in seconds) for name in seconds[0]}
    total = sum(parts.values())
    lines = ["\n| part of a training step | share of its time |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {value / total:.1%} |" for name, value in parts.items())]) + "\n"


if __name__ == "__main__":
    sys.exit(reported(main))
