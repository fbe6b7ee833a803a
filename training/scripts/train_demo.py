"""The demo: a tiny policy learns a hidden substitution from random weights, one run a seed; ends with a table and a plot.

python training/scripts/train_demo.py --out out/train-demo
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import fmean

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from memagent.evaluation.report import Report, Row, machine_facts
from memagent_training.recipe import Recipe, load_recipe
from memagent_training.run import build_trainer, silence_warnings, train
from memagent_training.runs.callbacks import read_metrics

START, END = 0.2, 0.8
"""The bars: mean reward of the first lines below the one, of the last lines above the other."""


def run(recipe: Recipe, folder: Path, *, resume: bool) -> tuple[list[Row], float]:
    """Train one seed; its learning curve as rows, and the minutes that this call took."""
    started = time.perf_counter()
    train(build_trainer(recipe, folder, quiet=False), resume=resume)
    lines = [line for line in read_metrics(folder / "metrics.jsonl") if "reward" in line]
    rows = [Row(method=f"seed {recipe.seed}", metric="reward", at=line["step"], value=line["reward"]) for line in lines]
    return rows, (time.perf_counter() - started) / 60


def main(argv: list[str] | None = None) -> int:
    """Run all seeds; returns 1 when a seed misses a bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/train-demo"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="optimizer steps in place of the recipe's")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--json", action="store_true", help="the report on stdout, after the table")
    options = parser.parse_args(argv)

    silence_warnings()
    rows: list[Row] = []
    verdicts = []
    for seed in range(options.seeds):
        changed: dict[str, object] = {"seed": seed}
        if options.steps is not None:
            changed["optimizer.steps"] = options.steps
        recipe = load_recipe("demo", overrides=changed)
        curve, minutes = run(recipe, options.out / f"seed-{seed}", resume=options.resume)
        first, last = (fmean(row.value for row in part) for part in (curve[:2], curve[-5:]))
        good = first < START and last > END
        verdicts.append({"seed": seed, "first": first, "last": last, "minutes": minutes, "good": good})
        rows += curve

    report = Report(name="train_demo", rows=rows, meta={**machine_facts(), "recipe": recipe.settings(), "seeds": verdicts})
    files = report.save(options.out)
    for one in verdicts:
        print(
            f"seed {one['seed']}: reward {one['first']:.3f} -> {one['last']:.3f} in {one['minutes']:.1f} min "
            f"({'as promised' if one['good'] else f'missed: below {START} at first, above {END} at last'})"
        )
    if options.json:
        print(report.model_dump_json())
    print("written: " + ", ".join(map(str, files)), file=sys.stderr)
    return 0 if all(one["good"] for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
