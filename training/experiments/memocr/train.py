"""One arm of one seed: the supervised stage (shared by the arms of a seed), then RL through `MemGRPOTrainer`.

<out>/seed-<s>/start          the policy after the supervised stage
<out>/seed-<s>/<arm>          metrics.jsonl, checkpoints, final

Everything can be killed and started again: a finished stage is only read, RL goes on from its newest checkpoint.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memagent.environments.long_qa.synthetic_qa import world_questions
from memagent.errors import InputError
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.run import train
from memagent_training.runs.callbacks import Monitor
from memagent_training.runs.checkpoints import attach
from memagent_training.trainer import MemGRPOTrainer
from training.experiments.memocr.engine import DraftEngine
from training.experiments.memocr.model import DraftModel
from training.experiments.memocr.objective import DraftObjective
from training.experiments.memocr.settings import ARMS, StudySettings
from training.experiments.memocr.sft import sft
from training.experiments.memocr.vocabulary import LINE, tokenizer


def start_policy(settings: StudySettings, folder: Path, *, seed: int) -> DraftModel:
    """The policy after the supervised stage of a seed, from `folder`; made there if it is missing."""
    report = folder / "sft.json"
    if not report.exists():
        started = time.process_time()
        model, found = sft(settings, seed=seed)
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        report.write_text(json.dumps({"chains found": found, "cpu_seconds": time.process_time() - started}) + "\n", "utf-8")
    return DraftModel.from_pretrained(folder, dtype="float32")  # type: ignore[no-any-return]


def trained_policy(settings: StudySettings, out: Path, *, arm: str, seed: int, quiet: bool = False) -> DraftModel:
    """The policy of an arm, trained where that was not done. Raises `InputError` where `out` holds a run of other settings."""
    note, facts = out / "settings.json", json.loads(json.dumps(asdict(settings)))
    if note.exists() and json.loads(note.read_text("utf-8")) != facts:
        raise InputError(f"{out} holds a run of other settings; give another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    folder, final = out / f"seed-{seed}" / arm, out / f"seed-{seed}" / arm / "final"
    start = start_policy(settings, folder.parent / "start", seed=seed)
    if ARMS[arm] is None:
        start.eval()
        return start
    if not (final / "done").exists():
        trainer = build(settings, start, folder, arm=arm, seed=seed, quiet=quiet)
        train(trainer, resume=True)
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(final)
        (final / "done").touch()
    return DraftModel.from_pretrained(final, dtype="float32").eval()  # type: ignore[no-any-return]


def build(
    settings: StudySettings, model: DraftModel, folder: Path, *, arm: str, seed: int, quiet: bool = False
) -> MemGRPOTrainer:
    """The trainer of an arm. `model` must have been loaded from its folder: TRL loads the reference model from there."""
    from datasets import Dataset
    from transformers import PrinterCallback

    rl, weights = settings.rl, ARMS[arm]
    assert weights is not None, "arm `none` is not trained"
    questions = world_questions(rl.pool, split="train", seed=2000 + seed, settings=settings.worlds())
    objective = DraftObjective(questions, quota=settings.draft.quota, mode=settings.mode)
    trainer = MemGRPOTrainer(
        model,
        objective=objective,
        args=_config(settings, folder, seed=seed),
        train_dataset=Dataset.from_list(objective.tasks()),
        processing_class=tokenizer(),
        baseline=GroupMean(scale="none"),
        credit=MemocrCredit(weights=weights),
        engine=DraftEngine(),
        callbacks=[Monitor(folder, quiet=quiet)],
    )
    trainer.remove_callback(PrinterCallback)  # the monitor prints
    attach(trainer)
    return trainer


def _config(settings: StudySettings, folder: Path, *, seed: int) -> Any:
    from trl import GRPOConfig

    rl = settings.rl
    return GRPOConfig(
        output_dir=str(folder),
        seed=seed,
        use_cpu=True,
        num_generations=rl.group,
        per_device_train_batch_size=rl.questions * rl.group // rl.updates,
        steps_per_generation=rl.updates,
        gradient_accumulation_steps=1,
        max_completion_length=LINE * settings.draft.quota + 1,
        temperature=1.0,
        loss_type="dapo",
        epsilon=rl.clip,
        epsilon_high=rl.clip,
        beta=rl.kl,
        learning_rate=rl.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=rl.warmup_steps,
        max_steps=rl.batches * rl.updates,
        max_grad_norm=1.0,
        save_steps=rl.save_every * rl.updates,
        save_total_limit=2,
        logging_steps=rl.log_every * rl.updates,
        report_to="none",
        disable_tqdm=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )
