"""Checkpoints that can be trusted: what TRL saves, plus our state, plus a seal that is written last.

Beside the weights stands a probe of them, by which an export is checked. The trainer's own files are written in place, so a
process that is killed leaves half a checkpoint behind. A checkpoint counts once it holds `memagent.json`, which arrives by an
atomic rename after everything else has been flushed to disk; it carries the history of pass rates, the objective's state and
the sizes of all other files. `latest_checkpoint` skips what is unsealed or was changed since.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import TrainerCallback

from memagent.errors import ConfigError
from memagent_renderers.files import write_atomic
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.grpo.rollout import Rollout
from memagent_training.objectives.base import Objective
from memagent_training.runs.probe import write_probe

SEAL = "memagent.json"
VERSION = 1
log = logging.getLogger("memagent.training")


class Checkpointed(Protocol):
    """What a checkpoint holds beside TRL's files, and who saves it: a `MemGRPOTrainer`."""

    accelerator: Any
    history: PromptStats
    objective: Objective
    sampler: Any
    """Of the prompts."""
    rollouts: list[Rollout]
    """Of the last batch that was trained on."""
    model_wrapped: Any

    def add_callback(self, callback: TrainerCallback) -> None:
        """TRL's."""
        ...


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Seals each checkpoint that the trainer saves."""

    def __init__(self, trainer: Checkpointed) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, *, train_dataloader: Any = None, **_: Any) -> None:
        """At a resume, let the sampler draw the orders of the epochs that are over.

        TRL draws each from one generator, which starts anew with the program: a resumed second epoch would be the first again.
        """
        sampler = self.trainer.sampler
        if state.global_step and sampler is not None and sampler.shuffle:
            updates = -(-len(train_dataloader) // args.gradient_accumulation_steps)
            for _epoch in range(state.global_step // updates):
                torch.randperm(sampler.num_samples, generator=sampler.generator)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called on every process after all files of the checkpoint have been written."""
        trainer = self.trainer
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_probe(trainer, folder)
        trainer.accelerator.wait_for_everyone()
        if not state.is_world_process_zero:
            return
        seal(
            folder,
            {"step": state.global_step, "history": trainer.history.state_dict(), "objective": trainer.objective.state_dict()},
        )


def attach(trainer: Checkpointed) -> None:
    """Let `trainer` seal its checkpoints."""
    trainer.add_callback(Checkpoints(trainer))


def seal(folder: Path, state: dict[str, Any]) -> None:
    """Flush the checkpoint's files to disk, then name them and our state in `memagent.json`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    body = {"version": VERSION, **state, "files": {str(path.relative_to(folder)): path.stat().st_size for path in files}}
    write_atomic(folder / SEAL, json.dumps(body), mode=0o644, sync=True)


def is_whole(folder: Path) -> bool:
    """Whether the checkpoint was sealed and holds what its seal names."""
    try:
        body = json.loads((folder / SEAL).read_text("utf-8"))
        return all((folder / name).stat().st_size == size for name, size in body["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def checkpoints(output: Path) -> list[Path]:
    """The trainer's checkpoints below `output`, whole or not, newest first."""
    found = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)


def latest_checkpoint(output: Path) -> Path | None:
    """The newest whole checkpoint below `output`, or None."""
    for folder in checkpoints(output):
        if is_whole(folder):
            return folder
        log.warning("`%s` is not whole and is not used", folder.name)
    return None


def remove_broken(output: Path) -> list[Path]:
    """Delete checkpoints that a killed run left half-written, so that saving there starts clean. Returns what was deleted."""
    broken = [folder for folder in checkpoints(output) if not is_whole(folder)]
    for folder in broken:
        shutil.rmtree(folder)
    return broken


def restore(trainer: Checkpointed, folder: Path) -> None:
    """Give the trainer our part of a checkpoint; TRL restores the rest by `train(resume_from_checkpoint=folder)`.

    Raises `ConfigError` for a checkpoint that is not whole or of another version.
    """
    if not is_whole(folder):
        raise ConfigError(f"`{folder}` is not a whole checkpoint of ours; `latest_checkpoint` finds the newest that is")
    body = json.loads((folder / SEAL).read_text("utf-8"))
    if body["version"] != VERSION:
        raise ConfigError(f"`{folder}` has version {body['version']} and this program reads {VERSION}")
    trainer.history.load_state_dict(body["history"])
    trainer.objective.load_state_dict(body["objective"])
