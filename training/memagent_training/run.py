"""From a recipe to a trainer that is ready to run: the one place where all parts meet."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memagent.errors import ConfigError
from memagent.evaluation.report import machine_facts
from memagent_training.engines import HttpEngine, ReplayEngine
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.policy import TinyPolicy, build_policy
from memagent_training.recipe import Recipe
from memagent_training.rollouts.workers import default_workers
from memagent_training.runs.callbacks import Monitor, read_metrics
from memagent_training.runs.checkpoints import attach, checkpoints, latest_checkpoint, remove_broken, restore
from memagent_training.runs.model_card import model_card
from memagent_training.runs.probe import write_probe
from memagent_training.tasks.base import Row
from memagent_training.tasks.stored import StoredRows
from memagent_training.trainer import MemGRPOTrainer


def silence_warnings() -> None:
    """For scripts: no bar for every file that transformers writes, no warnings about names that TRL still uses."""
    import warnings

    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)


def unavailable(recipe: Recipe) -> str | None:
    """What is missing on this machine to run a recipe, None where nothing is."""
    return recipe.engine.available() if hasattr(recipe.engine, "available") else None


def task_rows(recipe: Recipe) -> Sequence[Row]:
    """The training tasks, without repeats: a generation batch must not draw one prompt twice.

    Raises `ConfigError` when they are fewer than the prompts of a batch, and what the task raises.
    """
    drawn = recipe.task.tasks(recipe.tasks, seed=recipe.seed)
    rows = drawn if isinstance(drawn, StoredRows) else list({row["id"]: row for row in drawn}.values())
    if len(rows) < recipe.rollouts.prompts:
        raise ConfigError(
            f"{len(rows)} different tasks are fewer than the {recipe.rollouts.prompts} prompts of a batch; lower "
            "rollouts.prompts, raise `tasks`, or use a larger family"
        )
    return rows


def _dataset(rows: Sequence[Row]) -> Any:
    """Rows as TRL takes them; those of a file stay there, and each is read when it is drawn."""
    from datasets import Dataset

    if not isinstance(rows, StoredRows):
        return Dataset.from_list(rows)

    def read(batch: dict[str, list[int]]) -> dict[str, list[object]]:
        found = [rows[number] for number in batch["number"]]
        return {key: [row[key] for row in found] for key in found[0]}

    return Dataset.from_dict({"number": range(len(rows))}).with_transform(read)


def build_trainer(recipe: Recipe, output: Path, *, quiet: bool = False, plot_every: int = 0) -> MemGRPOTrainer:
    """Model, data and parts of a recipe in one trainer that writes below `output`."""
    from accelerate import PartialState
    from transformers import PrinterCallback

    args = recipe.config(output)
    if (problem := unavailable(recipe)) is not None:
        raise ConfigError(problem)
    if isinstance(recipe.engine, ReplayEngine):
        recipe.engine.check_made_by(made_by(recipe))
    rows = task_rows(recipe)
    model, processing, peft = build_policy(recipe.policy, alphabet=recipe.task.alphabet, seed=recipe.seed)
    if recipe.loss.kl and isinstance(recipe.policy, TinyPolicy):
        start = output / "start"  # TRL loads the reference model by its folder
        model.save_pretrained(start)
        processing.save_pretrained(start)
        PartialState().wait_for_everyone()  # only the first process writes
        model = type(model).from_pretrained(start, dtype="float32")
    trainer = MemGRPOTrainer(
        model,
        objective=recipe.make_objective(model=model, processing=processing),
        args=args,
        train_dataset=_dataset(rows),
        processing_class=processing,
        allocator=recipe.allocator,
        baseline=recipe.baseline,
        credit=recipe.credit,
        prior=recipe.prior,
        engine=recipe.engine,
        history=PromptStats(window=recipe.history_window),
        weighting=recipe.rollouts.weighting,
        token_budget=recipe.rollouts.token_budget,
        layout=recipe.layout,
        old=recipe.loss.old,
        max_failed=recipe.rollouts.max_failed,
        workers=default_workers() if recipe.rollouts.workers is None else recipe.rollouts.workers,
        callbacks=[Monitor(output, quiet=quiet, plot_every=plot_every)],
        **({"peft_config": peft} if peft is not None else {}),
    )
    trainer.remove_callback(PrinterCallback)  # the monitor prints
    attach(trainer)
    if isinstance(recipe.engine, HttpEngine):
        recipe.engine.probe()
    return trainer


def made_by(recipe: Recipe) -> dict[str, Any]:
    """The settings that a run's rollouts and their scores follow from, by place: those that a replay of them must have too."""
    plain = json.loads(json.dumps(recipe.settings(), default=str))
    tables = {name: plain[name] for name in ("policy", "task", "objective")}
    tables["rollouts"] = {
        name: plain["rollouts"][name] for name in ("prompts", "group_size", "temperature", "top_p", "updates", "epochs")
    }
    flat = {f"{table}.{name}": value for table, inner in tables.items() for name, value in inner.items()}
    for how in ("policy.attn", "policy.dtype"):
        flat.pop(how, None)  # how it is computed, not what
    return {"seed": plain["seed"], "tasks": plain["tasks"], **flat}


def write_recipe(recipe: Recipe, folder: Path, *, seconds: float | None = None) -> None:
    """Keep the whole recipe, and what it ran on, beside the run."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"recipe": recipe.settings(), "meta": {**machine_facts(), "seconds": seconds}}
    (folder / "recipe.json").write_text(json.dumps(facts, indent=1, default=str) + "\n", "utf-8")


def save_final(trainer: MemGRPOTrainer, recipe: Recipe) -> Path:
    """Save the trained policy below the run as `final`, with a README of the run; the folder that holds the policy.

    That is the last checkpoint where weights are saved by shard: no process has them all. Every process calls it; the first
    one writes.
    """
    output = Path(trainer.args.output_dir)
    final = output / "final"
    if trainer.is_fsdp_enabled and "SHARDED" in str(trainer.accelerator.state.fsdp_plugin.state_dict_type):
        final = latest_checkpoint(output) or output
    else:
        trainer.save_model(str(final))
        write_probe(trainer, final)
    if trainer.accelerator.is_main_process:
        lines = [line for line in read_metrics(output / "metrics.jsonl") if "reward" in line]
        (output / "README.md").write_text(model_card(recipe, output, lines, steps=trainer.state.global_step), "utf-8")
    return final


def train(trainer: MemGRPOTrainer, *, resume: bool = False) -> None:
    """Train to the end; with `resume`, go on from the newest whole checkpoint, or start when there is none.

    Raises `ConfigError` when the folder holds a run and `resume` is off: nothing is overwritten.
    """
    output = Path(trainer.args.output_dir)
    if not resume and (held := checkpoints(output)):
        raise ConfigError(f"`{output}` holds a run (`{held[0].name}`); go on with --resume, or give another --out")
    found = latest_checkpoint(output)
    if trainer.accelerator.is_main_process:
        remove_broken(output)
    trainer.accelerator.wait_for_everyone()
    if found is not None:
        restore(trainer, found)
    trainer.train(resume_from_checkpoint=str(found) if found is not None else None)


def shutdown(trainer: MemGRPOTrainer) -> None:
    """Leave the group of processes, and end the threads that served it. The trainer trains no more.

    The wrapped model keeps gloo's threads running after the group is destroyed; one of them that lets go of a tensor while
    Python shuts down aborts the process (seen with torch 2.13, in one of five runs on two cores).
    """
    trainer.model_wrapped = trainer.model
    trainer.accelerator.free_memory()
    trainer.accelerator.end_training()
    gc.collect()
