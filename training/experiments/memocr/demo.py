"""The short version of the laptop study: one seed, three arms, and one memory before and after training as a picture.

    python -m training.experiments.memocr.demo --out out/memocr-demo

Takes some minutes. `before-after.png` shows the first test question of two hops that the untrained page does not answer at 64
visual tokens and the trained one does; `density.png` how the evidence moves into large type.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import torch

from training.experiments.memocr.exhibit import Column, exhibit
from training.experiments.memocr.page import MODES
from training.experiments.memocr.plots import plot_density
from training.experiments.memocr.report import Tables, accuracy_table
from training.experiments.memocr.run import Options, print_bars, reported, run_mode, say, time_table
from training.experiments.memocr.settings import SizeSettings
from training.experiments.memocr.study import Drafted

SHOWN = (64, 16)
"""Visual tokens of the picture's lower rows."""
BEFORE, AFTER = "none", "full"


def main(argv: list[str] | None = None) -> int:
    """Run the demo; returns 1 when training on all three tasks is not ahead of T_std alone at 64 tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/memocr-demo"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", choices=MODES, default="shrink")
    parser.add_argument("--questions", type=int, default=12, help="test questions")
    parser.add_argument("--steps", type=int, default=SizeSettings.steps, help="batches of rollouts")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that read")
    given = parser.parse_args(argv)

    torch.set_num_threads(1)
    began = time.perf_counter()
    options = Options(
        out=given.out,
        arms=(BEFORE, "std", AFTER),
        seeds=(given.seed,),
        questions=given.questions,
        full_size_questions=4,
        budgets=(1024, 64, 16),
        workers=given.workers,
    )
    tables, _ = run_mode(SizeSettings(mode=given.mode, steps=given.steps), options)
    print(accuracy_table(tables))
    print_bars(tables.bars())
    print(time_table(tables.seconds()))
    histories = {one.arm: [one.history] for one in tables.found if one.history}
    plot_density(histories, given.out / "density.png")
    before, after = telling(tables)
    columns = [Column("before training", before), Column("after training with all three tasks", after)]
    exhibit(columns, given.out / "before-after.png", tokens=SHOWN, mode=given.mode)
    say(f"written: {given.out / 'before-after.png'}, {given.out / 'density.png'}; {time.perf_counter() - began:.0f} s in all")
    full, std = (sum(tables.right(arm, 64).values()) for arm in (AFTER, "std"))
    return int(full <= std)


def telling(tables: Tables) -> tuple[Drafted, Drafted]:
    """The pages before and after of the first question that tells most: two hops, lost before and answered after at 64."""
    of = {one.arm: one for one in tables.found}
    lost, won = (tables.right(arm, 64) for arm in (BEFORE, AFTER))

    def rank(number: int) -> tuple[bool, bool]:
        page = of[AFTER].drafted[number]
        key = f"{of[AFTER].seed}/{page.question.id}"
        return won[key] > lost[key], len(page.question.chain) == 2

    best = max(range(len(of[AFTER].drafted)), key=lambda number: (rank(number), -number))
    return of[BEFORE].drafted[best], of[AFTER].drafted[best]


if __name__ == "__main__":
    sys.exit(reported(main))
