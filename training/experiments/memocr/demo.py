"""The short version of the study: one seed, before and after training, and one memory of both as a picture.

    python -m training.experiments.memocr.demo --out out/memocr-demo

Takes some minutes. `before-after.png` shows the first test question of two hops that the untrained page does not answer at 64
visual tokens and the trained one does; `training-shrink.png` how the evidence moves into large type.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch

from memagent_training.run import silence_warnings
from training.experiments.memocr.evaluate import MIDDLE, SMALLEST, Draft, Runs, ocr_answer
from training.experiments.memocr.figures import before_after
from training.experiments.memocr.page import MODES, Mode
from training.experiments.memocr.run import print_report, reported, say, sized, study
from training.experiments.memocr.settings import StudySettings

BEFORE, AFTER = "none", "full"


def main(argv: list[str] | None = None) -> int:
    """Run the demo; returns 1 when the trained policy is not ahead of the untrained one at 64 tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/memocr-demo"))
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--mode", choices=MODES, default="shrink")
    parser.add_argument("--questions", type=int, default=6, help="test questions of each chain length")
    parser.add_argument("--batches", type=int, help="generation batches of RL in place of the default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that read")
    given = parser.parse_args(argv)

    silence_warnings()
    torch.set_num_threads(1)
    began, settings = time.perf_counter(), sized(StudySettings(mode=given.mode), given.batches)
    report, runs = study(
        settings,
        given.out,
        arms=(BEFORE, AFTER),
        seeds=(given.seed,),
        questions=given.questions,
        budgets=(MIDDLE, SMALLEST),
        workers=given.workers,
    )
    print_report(report)
    before, after = telling(runs, given.seed, given.mode)
    path = given.out / "before-after.png"
    columns = {"before training": before, "after training with all three tasks": after}
    before_after(columns, path, tokens=(MIDDLE, SMALLEST), mode=given.mode)
    say(f"written: {path}, {given.out / f'training-{given.mode}.png'}; {time.perf_counter() - began:.0f} s in all")
    right = {
        row.method: row.value for row in report.rows if (row.metric, row.at, row.length) == ("accuracy", MIDDLE, "seen chains")
    }
    return int(right[AFTER] <= right[BEFORE])


def telling(runs: Runs, seed: int, mode: Mode) -> tuple[Draft, Draft]:
    """The pages before and after of the first question that says most: two hops, lost before and answered after at 64."""
    pairs = list(zip(runs[BEFORE, seed], runs[AFTER, seed], strict=True))
    pairs.sort(key=lambda pair: len(pair[0].question.chain) != 2)
    for before, after in pairs:
        wanted = before.question.answer
        if ocr_answer(after, MIDDLE, mode) == wanted != ocr_answer(before, MIDDLE, mode):
            return before, after
    return pairs[0]


if __name__ == "__main__":
    sys.exit(reported(main))
