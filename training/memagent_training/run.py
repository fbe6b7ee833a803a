"""From a recipe to a trainer that is ready to run: the one place where all parts meet."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

from memagent.errors import ConfigError
from memagent.text.token_chunks import TokenCutter
from memagent_renderers.budget import ReaderProfile
from memagent_training.callbacks import Monitor
from memagent_training.checkpoints import attach, checkpoints, latest_checkpoint, remove_broken, restore
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.objectives import InEnvironment, SelfVerify, SingleTurn, TextMemocr
from memagent_training.objectives.base import Objective
from memagent_training.objectives.boxed import BoxedAnswers
from memagent_training.objectives.memagent import TextMemory
from memagent_training.objectives.memocr_drafting import MemocrDrafting
from memagent_training.policy import TinyPolicy, build_policy
from memagent_training.recipe import LONG_TEXTS, FileTasks, Recipe
from memagent_training.tasks.base import CharacterFamily
from memagent_training.trainer import MemGRPOTrainer


def silence_warnings() -> None:
    """For scripts: no bar for every file that transformers writes, no warnings about names that TRL still uses."""
    import warnings

    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)


def build_objective(recipe: Recipe, model: Any, processing: Any) -> Objective:
    """The objective that the recipe names, for a model and its tokenizer or processor."""
    settings, family = recipe.objective, recipe.task
    if settings.kind in LONG_TEXTS:
        return _of_long_texts(recipe, model, processing)
    if settings.kind == "text_memocr":
        return TextMemocr(family)
    if settings.kind == "environment":
        return InEnvironment(family.worlds(recipe.tasks, seed=recipe.seed), temperature=recipe.rollouts.temperature)
    checker = BoxedAnswers() if isinstance(family, FileTasks) else family
    plain = SingleTurn(checker, max_tokens=settings.max_tokens, temperature=recipe.rollouts.temperature)
    if settings.kind == "single_turn":
        return plain
    return SelfVerify(
        plain,
        strategy=settings.strategy,
        interval=settings.interval,
        loops=settings.loops,
        init_steps=settings.init_batches,
        n=recipe.rollouts.group_size,
        seed=recipe.seed,
        prompts=family if isinstance(family, CharacterFamily) else None,
        temperature=recipe.rollouts.temperature,
    )


def _of_long_texts(recipe: Recipe, model: Any, processing: Any) -> MemocrDrafting | TextMemory:
    from memagent.models.hf_processor import HfTokens, config_pricing

    name = str(getattr(model.config, "name_or_path", "") or "the policy")
    cutter = TokenCutter(HfTokens(getattr(processing, "tokenizer", processing), name=name))
    temperature = recipe.rollouts.temperature
    if recipe.objective.kind == "memagent":
        return TextMemory(cutter, settings=recipe.objective.memagent, temperature=temperature)
    reader = ReaderProfile(name=name, sees_images=True, pricing=config_pricing(model.config))
    return MemocrDrafting(cutter, reader=reader, settings=recipe.objective.memocr, temperature=temperature)


def read_tasks(path: Path) -> list[dict[str, Any]]:
    """The rows of a task file. Raises `ConfigError` with the line that cannot be used."""
    if not path.is_file():
        raise ConfigError(f"there is no task file `{path}`; it holds one JSON object a line with id, prompt and answer")
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            rows.append({key: str(row[key]) for key in ("id", "prompt", "answer")})
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"`{path}`, line {number}: {error!r}; it must be an object with id, prompt and answer") from error
    return rows


def task_rows(recipe: Recipe) -> list[dict[str, Any]]:
    """The training tasks, without repeats: a generation batch must not draw one prompt twice."""
    if isinstance(recipe.task, FileTasks):
        drawn = read_tasks(Path(recipe.task.path))
    else:
        drawn = recipe.task.tasks(recipe.tasks, seed=recipe.seed)
    rows = list({row["id"]: row for row in drawn}.values())
    if len(rows) < recipe.rollouts.prompts:
        raise ConfigError(
            f"{len(rows)} different tasks are fewer than the {recipe.rollouts.prompts} prompts of a batch; lower "
            "rollouts.prompts, raise `tasks`, or use a larger family"
        )
    return rows


def build_trainer(recipe: Recipe, output: Path, *, quiet: bool = False, plot_every: int = 0) -> MemGRPOTrainer:
    """Model, data and parts of a recipe in one trainer that writes below `output`."""
    from datasets import Dataset
    from transformers import PrinterCallback

    args = recipe.config(output)
    alphabet = "" if isinstance(recipe.task, FileTasks) else recipe.task.alphabet
    model, processing, peft = build_policy(recipe.policy, alphabet=alphabet, seed=recipe.seed)
    if recipe.loss.kl and isinstance(recipe.policy, TinyPolicy):
        model = _kept(model, processing, output / "start")  # TRL loads the reference model by its folder
    trainer = MemGRPOTrainer(
        model,
        objective=build_objective(recipe, model, processing),
        args=args,
        train_dataset=Dataset.from_list(task_rows(recipe)),
        processing_class=processing,
        allocator=recipe.allocator,
        baseline=recipe.baseline,
        credit=recipe.credit,
        prior=recipe.prior,
        engine=recipe.engine,
        history=PromptStats(window=recipe.history_window),
        weighting=recipe.rollouts.weighting,
        token_budget=recipe.rollouts.token_budget,
        callbacks=[Monitor(output, quiet=quiet, plot_every=plot_every)],
        **({"peft_config": peft} if peft is not None else {}),
    )
    trainer.remove_callback(PrinterCallback)  # the monitor prints
    attach(trainer)
    return trainer


def _kept(model: Any, processing: Any, folder: Path) -> Any:
    """The model saved to `folder` and loaded from it."""
    from accelerate import PartialState

    model.save_pretrained(folder)
    processing.save_pretrained(folder)
    PartialState().wait_for_everyone()  # only the first process writes
    return type(model).from_pretrained(folder, dtype="float32")


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
