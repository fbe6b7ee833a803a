"""Train a policy by a recipe.

    python -m training.scripts.train --recipe demo --out out/demo
    python -m training.scripts.train --recipe demo --allocator coba --baseline v05 --credit hian --out out/mix
    accelerate launch --num_processes 8 -m training.scripts.train --recipe coba --out out/coba

Every value of a recipe can be set by its place: `--set rollouts.group_size=16`. A run writes `recipe.json`, `metrics.jsonl`,
`training.png`, TensorBoard events and checkpoints into its folder; `--resume` goes on from the newest whole checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from memagent.errors import MemAgentError
from memagent.evaluation.report import machine_facts
from memagent_training.callbacks import RolloutLog
from memagent_training.recipe import Recipe, load_recipe
from memagent_training.run import build_trainer, shutdown, silence_warnings, train


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True, help="a TOML file, or the name of one in training/recipes")
    parser.add_argument("--out", required=True, type=Path, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the newest whole checkpoint")
    for kind in ("allocator", "baseline", "credit", "objective", "task", "prior"):
        parser.add_argument(f"--{kind}", metavar="KIND", help=f"this {kind} with its defaults in place of the recipe's")
    parser.add_argument("--seed", type=int, help="in place of the recipe's")
    parser.add_argument("--steps", type=int, help="optimizer steps in place of the recipe's")
    parser.add_argument("--set", action="append", default=[], metavar="PLACE=VALUE", help="any value of the recipe, in TOML")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard events too")
    parser.add_argument("--plot-every", type=int, default=0, metavar="N", help="redraw training.png every N log lines")
    parser.add_argument("--log-rollouts", action="store_true", help="write every rollout to rollouts.jsonl")
    parser.add_argument("--quiet", action="store_true", help="no table and no bar")
    parser.add_argument("--dry-run", action="store_true", help="check the recipe and print it; train nothing")
    return parser


def overrides(options: argparse.Namespace) -> dict[str, object]:
    """What the flags change, by place in the recipe. Kinds come first, so that `--set` speaks of the new ones."""
    import tomllib

    changed: dict[str, object] = {}
    for kind in ("allocator", "baseline", "credit", "objective", "task", "prior"):
        if getattr(options, kind):
            changed[f"{kind}.kind"] = getattr(options, kind)
    if options.credit == "memocr" and not options.objective:
        print("credit `memocr` needs three readings: objective `text_memocr`", file=sys.stderr)
        changed["objective.kind"] = "text_memocr"
    if options.seed is not None:
        changed["seed"] = options.seed
    if options.steps is not None:
        changed["optimizer.steps"] = options.steps
    if options.tensorboard:
        changed["trl.report_to"] = "tensorboard"
    for text in options.set:
        place, _, value = text.partition("=")
        try:
            changed[place] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changed[place] = value
    return changed


def write_down(recipe: Recipe, folder: Path, *, seconds: float | None = None) -> None:
    """Keep the whole recipe and what it ran on beside the run."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"recipe": recipe.settings(), "meta": {**machine_facts(), "seconds": seconds}}
    (folder / "recipe.json").write_text(json.dumps(facts, indent=1, default=str) + "\n", "utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = arguments().parse_args(argv)
    try:
        recipe = load_recipe(options.recipe, overrides=overrides(options))
        if options.dry_run:
            recipe.config(options.out)
            print(json.dumps(recipe.settings(), indent=1, default=str))
            return 0
        if recipe.trl.get("report_to") == "tensorboard":
            os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(options.out / "tensorboard"))
        for deviation in recipe.deviations:
            print(f"deviation: {deviation}", file=sys.stderr)
        silence_warnings()
        started = time.perf_counter()
        trainer = build_trainer(recipe, options.out, quiet=options.quiet, plot_every=options.plot_every)
        if options.log_rollouts:
            trainer.add_callback(RolloutLog(trainer, options.out))
        if trainer.accelerator.is_main_process:
            write_down(recipe, options.out)
        train(trainer, resume=options.resume)
        if trainer.accelerator.is_main_process:
            write_down(recipe, options.out, seconds=round(time.perf_counter() - started, 1))
            print(f"written: {options.out}", file=sys.stderr)
        shutdown(trainer)
    except MemAgentError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
