"""One arm of the token-level laptop runs: warm-up (shared by the arms of a seed), RL through `MemGRPOTrainer`, evaluation.

python -m training.experiments.memocr.tokens.train --arm full --seed 0 --out out/tokens

Everything can be killed and started again: a finished warm-up is kept, RL goes on from its newest checkpoint, and an arm with a
`result.json` is done. Arms: full, std (T_std alone), no_augm, none (the start policy).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from memagent.environments.long_qa.synthetic_qa import world_questions
from memagent.errors import InputError
from memagent_training.callbacks import Monitor
from memagent_training.checkpoints import attach
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.run import silence_warnings, train
from memagent_training.trainer import MemGRPOTrainer
from training.experiments.memocr.settings import ARMS
from training.experiments.memocr.tokens.engine import DraftEngine
from training.experiments.memocr.tokens.evaluate import draft_all, summary, test_questions, write_pages
from training.experiments.memocr.tokens.model import DraftModel
from training.experiments.memocr.tokens.objective import DraftObjective
from training.experiments.memocr.tokens.settings import TokenSettings
from training.experiments.memocr.tokens.vocabulary import LINE, tokenizer
from training.experiments.memocr.tokens.warm_up import warm_up


def start_policy(settings: TokenSettings, folder: Path, *, seed: int) -> DraftModel:
    """The warmed-up policy of a seed from `folder`; made there if it is missing."""
    report = folder / "warm_up.json"
    if not report.exists():
        started = time.process_time()
        model, found = warm_up(settings, seed=seed)
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        report.write_text(json.dumps({"chains found": found, "cpu_seconds": time.process_time() - started}) + "\n", "utf-8")
    return DraftModel.from_pretrained(folder, dtype="float32")  # type: ignore[no-any-return]


def build(
    settings: TokenSettings, model: DraftModel, folder: Path, *, arm: str, seed: int, quiet: bool = False
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


def _config(settings: TokenSettings, folder: Path, *, seed: int) -> Any:
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


def run(settings: TokenSettings, out: Path, *, arm: str, seed: int, quiet: bool = False, each: int = 200) -> dict[str, Any]:
    """Train and judge one arm of one seed below `out`; what `result.json` holds. A finished arm is only read.

    Raises `InputError` where it was trained or judged with other settings: its pages and readings would be mixed.
    """
    folder = out / f"seed-{seed}" / arm
    result = folder / "result.json"
    shape = json.loads(json.dumps({"settings": asdict(settings), "each": each}))
    if result.exists():
        kept: dict[str, Any] = json.loads(result.read_text("utf-8"))
        if {name: kept.get(name) for name in shape} != shape:
            raise InputError(f"{folder} holds a run of other settings or questions; give another folder with --out")
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    model = start_policy(settings, folder.parent / "start", seed=seed)
    started = time.process_time()
    if ARMS[arm] is not None:
        trainer = build(settings, model, folder, arm=arm, seed=seed, quiet=quiet)
        train(trainer, resume=True)
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.save_pretrained(folder / "final")
    spent = time.process_time() - started
    drafted = draft_all(model.eval(), test_questions(settings, each=each, seed=seed), seed=seed)
    write_pages(drafted, folder / "pages.jsonl")
    judged = summary(drafted, seen_hops=settings.hops, mode=settings.mode)
    body = {"arm": arm, "seed": seed, "cpu_seconds": spent, **shape, "test": judged}
    result.write_text(json.dumps(body, indent=1) + "\n", "utf-8")
    return body


def main(argv: list[str] | None = None) -> int:
    """Run one arm; its means on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", choices=list(ARMS), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/tokens"))
    options = parser.parse_args(argv)
    silence_warnings()
    body = run(TokenSettings(), options.out, arm=options.arm, seed=options.seed)
    for name, means in body["test"].items():
        print(name, " ".join(f"{key} {value:.3g};" for key, value in means.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
