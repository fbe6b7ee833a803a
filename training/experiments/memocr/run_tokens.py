"""The laptop study with a language model: it writes the memory token by token and is trained by the trainer of large models.

    python -m training.experiments.memocr.run_tokens --out out/memocr-tokens

Arms none, std and full, as in memocr_laptop. Questions are about worlds and names that training never showed; those of four
hops follow longer chains than any in training. Everything is kept in --out and taken up again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch

from memagent.evaluation.report import Report, Row, machine_facts
from memagent_training.run import silence_warnings
from training.experiments.memocr.report import accuracy_table
from training.experiments.memocr.run import facts, print_bars, reported, say, time_table
from training.experiments.memocr.settings import ARMS
from training.experiments.memocr.tokens.judged import batch_seconds, drafted, judged_tables
from training.experiments.memocr.tokens.settings import TokenSettings
from training.experiments.memocr.tokens.train import run


def main(argv: list[str] | None = None) -> int:
    """Train, draft and judge; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/memocr-tokens"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=["none", "std", "full"])
    parser.add_argument("--budgets", type=int, nargs="+", default=[1024, 64, 16])
    parser.add_argument("--questions", type=int, default=10, help="of each chain length and seed")
    parser.add_argument("--batches", type=int, help="generation batches of RL in place of the default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that read")
    given = parser.parse_args(argv)

    silence_warnings()
    torch.set_num_threads(1)
    began, settings = time.perf_counter(), TokenSettings()
    if given.batches is not None:
        settings = replace(settings, rl=replace(settings.rl, batches=given.batches))
    pages = {}
    for seed in given.seeds:
        for arm in given.arms:
            say(f"seed {seed}, arm {arm}")
            run(settings, given.out, arm=arm, seed=seed, quiet=True, each=given.questions)
            pages[arm, seed] = drafted(settings, given.out / f"seed-{seed}" / arm, seed=seed, each=given.questions)
    tables = judged_tables(
        settings, pages, budgets=given.budgets, path=given.out / "readings.jsonl", workers=given.workers, say=say
    )
    rows, meta = list[Row](), dict[str, object]()
    for name, table in tables.items():
        rows += [row.model_copy(update={"method": f"{name}: {row.method}"}) for row in table.rows()]
        meta[name] = {"bars": table.bars(), **facts(table)}
        print(f"\n{name} chain lengths\n\n{accuracy_table(table)}")
        print_bars(table.bars())
    trained = [Path(f"seed-{seed}") / arm for seed in given.seeds for arm in given.arms if ARMS[arm]]
    logged = {str(one): batch_seconds(given.out / one, updates=settings.rl.updates) for one in trained}
    seconds = {name: parts for name, parts in logged.items() if parts}
    print(time_table(list(seconds.values())))
    meta |= {"seconds_of_a_batch": seconds}
    meta |= {"settings": asdict(settings), "seconds": round(time.perf_counter() - began, 1)}
    files = Report(name="memocr_laptop_tokens", rows=rows, meta={**machine_facts(), **meta}).save(given.out)
    print("written: " + ", ".join(map(str, files)), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(reported(main))
