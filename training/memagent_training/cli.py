"""`memagent-train`, or `python -m memagent_training`: train a policy by a recipe, and look at recipes.

    memagent-train data long-qa --questions hotpot_train_v1.1.json --documents 200 --n 32768 --out data/hotpotqa_train_32k.jsonl
    memagent-train run --recipe demo --out out/demo
    memagent-train run --recipe demo --allocator coba --baseline v05 --out out/mix
    accelerate launch --config_file $(memagent-train config fsdp2) -m memagent_training run --recipe coba --out out/coba
    memagent-train export out/mix --out out/mix-model
    memagent-train recipes
    memagent-train recipes show coba
    memagent-train recipes check my.toml --world 8
    memagent-train serve-command memocr-qwen3-vl-2b-lora

Every value of a recipe can be set by its place: `--set rollouts.group_size=16`. A run writes `recipe.json`, `metrics.jsonl`,
`training.png`, checkpoints and the trained policy (`final`) into its folder, with a README that says how to use it; `--resume`
goes on from the newest whole checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memagent.errors import ConfigError, MemAgentError
from memagent_training.package_data import config_file, data_folder

if TYPE_CHECKING:
    from memagent_training.recipe import Recipe
from memagent_training.tasks.long_qa import QUESTION_FILES, LongQuestions

USAGE = 2
"""Exit status where nothing was tried."""
PARTS = ("allocator", "baseline", "credit", "objective", "task", "prior", "engine")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="memagent-train", description=__doc__, formatter_class=plain)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="train a policy by a recipe")
    run.add_argument("--recipe", required=True, help="a TOML file, or the name of a shipped recipe")
    run.add_argument("--out", required=True, type=Path, help="folder of the run")
    run.add_argument("--resume", action="store_true", help="go on from the newest whole checkpoint")
    for kind in PARTS:
        run.add_argument(f"--{kind}", metavar="KIND", help=f"this {kind} with its defaults in place of the recipe's")
    run.add_argument("--seed", type=int, help="in place of the recipe's")
    run.add_argument("--steps", type=int, help="optimizer steps in place of the recipe's")
    run.add_argument("--set", action="append", default=[], metavar="PLACE=VALUE", help="any value of the recipe, in TOML")
    run.add_argument("--unset", action="append", default=[], metavar="PLACE", help="take a value out of the recipe")
    run.add_argument("--tensorboard", action="store_true", help="write TensorBoard events too")
    run.add_argument("--plot-every", type=int, default=0, metavar="N", help="redraw training.png every N log lines")
    run.add_argument(
        "--log-rollouts", action="store_true", help="write every rollout to rollouts.jsonl, for engine.kind=replay too"
    )
    run.add_argument("--quiet", action="store_true", help="no table and no bar")
    run.add_argument("--dry-run", action="store_true", help="check the recipe and print it; train nothing")

    data = commands.add_parser("data", help="make a file of tasks, once for all runs")
    kinds = data.add_subparsers(dest="kind", required=True, metavar="KIND")
    long_qa = kinds.add_parser("long-qa", help="questions of a data set, each with a long context; for task.data of a recipe")
    long_qa.add_argument("--questions", required=True, help="a data set: " + QUESTION_FILES)
    long_qa.add_argument("--pool", help="a further file whose paragraphs fill contexts")
    length = long_qa.add_mutually_exclusive_group()
    length.add_argument("--documents", type=int, help="of a context (200 where --tokens is not given either)")
    length.add_argument("--tokens", type=int, help="of a context, by estimate")
    long_qa.add_argument("--n", required=True, type=int, help="questions, in the order of the data set; all when it has fewer")
    long_qa.add_argument("--seed", type=int, default=0, help="of contexts (0)")
    long_qa.add_argument("--workers", type=int, default=1, help="processes; the file is the same for any number (1)")
    long_qa.add_argument("--out", required=True, type=Path, help="the file; its manifest and index are written beside it")

    export = commands.add_parser("export", help="write the policy of a run as a model that loads by itself")
    export.add_argument("folder", type=Path, metavar="RUN", help="folder of the run")
    export.add_argument("--out", required=True, type=Path, metavar="MODEL", help="folder of the model, which must not be there")
    export.add_argument("--step", type=int, metavar="N", help="a checkpoint, in place of the end of the run")
    export.add_argument(
        "--dtype", choices=("bfloat16", "float32"), help="of the weights (bfloat16; tiny policies and adapters: float32)"
    )
    export.add_argument("--merge", action="store_true", help="adapters merged into the model that they were trained on")

    recipes = commands.add_parser("recipes", help="list, show or check recipes")
    recipes.add_argument("action", nargs="?", choices=("list", "show", "check"), default="list")
    recipes.add_argument("names", nargs="*", metavar="NAME", help="shipped recipes or TOML files; none: all that are shipped")
    recipes.add_argument("--world", type=int, metavar="N", help="processes to check for; else those of the recipe's machine")

    serve = commands.add_parser("serve-command", help="print the `vllm serve` command for a recipe")
    serve.add_argument("recipe", help="a TOML file, or the name of a shipped recipe")
    serve.add_argument("--set", action="append", default=[], metavar="PLACE=VALUE", help="any value of the recipe, in TOML")
    serve.add_argument("--unset", action="append", default=[], metavar="PLACE", help="take a value out of the recipe")
    serve.add_argument("--vllm", default="0.30", metavar="VERSION", help="of the server (0.30)")

    config = commands.add_parser("config", help="print the path of a launcher configuration for `accelerate launch`")
    names = sorted(path.stem for path in data_folder("configs").glob("*.yaml"))
    config.add_argument("name", metavar="NAME", help=f"one of: {', '.join(names)}")
    return parser


def data(options: argparse.Namespace) -> None:
    """Write a file of tasks; prints its manifest."""
    from rich.console import Console
    from rich.progress import Progress

    from memagent_training.tasks.long_qa_file import write_long_qa

    names = ("questions", "pool", "documents", "tokens")
    settings = LongQuestions(**{name: getattr(options, name) for name in names})
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("contexts")
        manifest = write_long_qa(
            settings,
            options.out,
            n=options.n,
            seed=options.seed,
            workers=options.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(json.dumps(manifest, indent=1))
    print(f"written: {options.out}; train on it with --set task.data={options.out}", file=sys.stderr)


def export(options: argparse.Namespace) -> None:
    """Write the policy of a run; prints what was written."""
    from memagent_training.export import export_run
    from memagent_training.run import silence_warnings

    silence_warnings()
    done = export_run(options.folder, options.out, step=options.step, dtype=options.dtype, merge=options.merge)
    gap = "not compared: no prompt was stored" if done.gap is None else f"log-probabilities differ by {done.gap:.2g} a token"
    print(f"{done.folder}: {done.dtype}, {gap}")


def overrides(options: argparse.Namespace) -> dict[str, object]:
    """What the flags change, by place in the recipe. Kinds come first, so that `--set` is about the new ones."""
    changed: dict[str, object] = {f"{kind}.kind": getattr(options, kind) for kind in PARTS if getattr(options, kind)}
    if options.seed is not None:
        changed["seed"] = options.seed
    if options.steps is not None:
        changed["optimizer.steps"] = options.steps
    if options.tensorboard:
        changed["trl.report_to"] = "tensorboard"
    return changed | places(options)


def places(options: argparse.Namespace) -> dict[str, object]:
    """What --unset and --set change."""
    changed: dict[str, object] = dict.fromkeys(options.unset)
    for text in options.set:
        place, _, value = text.partition("=")
        try:
            changed[place] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changed[place] = value
    return changed


def run(options: argparse.Namespace) -> None:
    """Train."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when huggingface_hub is imported
    from memagent_training.estimate import estimate
    from memagent_training.recipe import load_recipe

    recipe = load_recipe(options.recipe, overrides=overrides(options))
    if options.dry_run:
        recipe.config(options.out)
        warn_unavailable(recipe)
        print(json.dumps(recipe.settings(), indent=1, default=str))
        if (found := estimate(recipe)) and (machine := recipe.expected):
            print(f"estimate, with {machine.gpus} GPUs in training:", file=sys.stderr)
            print(*found.lines(machine.memory_gb), sep="\n", file=sys.stderr)
        return
    if recipe.trl.get("report_to") == "tensorboard":
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(options.out / "tensorboard"))
    for deviation in recipe.deviations:
        print(f"deviation: {deviation}", file=sys.stderr)

    from memagent_training.run import build_trainer, made_by, save_final, shutdown, silence_warnings, train, write_recipe
    from memagent_training.runs.callbacks import RolloutLog

    silence_warnings()
    started = time.perf_counter()
    trainer = build_trainer(recipe, options.out, quiet=options.quiet, plot_every=options.plot_every)
    if options.log_rollouts:
        trainer.add_callback(RolloutLog(trainer, options.out, made_by=made_by(recipe)))
    main_process = trainer.accelerator.is_main_process
    if main_process:
        write_recipe(recipe, options.out)
    train(trainer, resume=options.resume)
    final = save_final(trainer, recipe)
    if main_process:
        write_recipe(recipe, options.out, seconds=round(time.perf_counter() - started, 1))
        print(f"written: {options.out}; the trained policy: {final}", file=sys.stderr)
        print(f"next: memagent-train export {options.out} --out {options.out}-model", file=sys.stderr)
    shutdown(trainer)


def warn_unavailable(recipe: Recipe) -> None:
    """Say on stderr what is missing here: a recipe for another machine is no wrong one."""
    from memagent_training.run import unavailable

    if (problem := unavailable(recipe)) is not None:
        print(f"warning: {recipe.name}: {problem}", file=sys.stderr)


def recipes(action: str, names: Sequence[str], world: int | None) -> None:
    """Print the names, the whole of one, or whether each can be run. Raises `ConfigError` for one that cannot."""
    from memagent_training.recipe import load_recipe

    shipped = sorted(path.stem for path in data_folder("recipes").glob("*.toml"))
    for name in names or shipped:
        recipe = load_recipe(name)
        if action == "list":
            print(f"{recipe.name:<28}{recipe.source}")
        elif action == "show":
            print(json.dumps(recipe.settings(), indent=1, default=str))
        else:
            processes = world or (recipe.expected.gpus if recipe.expected else 1)
            recipe.config(Path("unused"), world=processes)
            warn_unavailable(recipe)
            print(f"{name}: can run in {processes} process{'es' if processes > 1 else ''}")


def serve_command(options: argparse.Namespace) -> None:
    """Print one command for each server."""
    from memagent_training.engines.serve_command import serve_commands
    from memagent_training.recipe import load_recipe

    recipe = load_recipe(options.recipe, overrides=places(options))
    print(*serve_commands(recipe, version=options.vllm), sep="\n")
    if getattr(recipe.policy, "lora", None) is None and getattr(recipe.engine, "weights", "") != "whole":
        print('to send whole weights there: engine.kind = "http", engine.weights = "whole"', file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 for a recipe or a flag that cannot work, else that of the error."""
    options = arguments().parse_args(argv)
    try:
        if options.command == "run":
            run(options)
        elif options.command == "data":
            data(options)
        elif options.command == "export":
            export(options)
        elif options.command == "recipes":
            recipes(options.action, options.names, options.world)
        elif options.command == "serve-command":
            serve_command(options)
        else:
            print(config_file(options.name))
    except MemAgentError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return USAGE if isinstance(error, ConfigError) else error.exit_code
    except OSError as error:  # a full disk, a folder that cannot be made, a checkpoint that is not here
        print(f"files: {error}", file=sys.stderr)
        return 1
    return 0
