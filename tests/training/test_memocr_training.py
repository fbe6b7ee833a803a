"""MemOCR's objective through the trainer: a tiny random Qwen2.5-VL learns from pictures drawn during its rollouts."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from checkpoints_vl import tiny_qwen_vl
from scripted_runs import ours

from memagent.memory.chunking import TokenCutter
from renderers import PatchPricing, ReaderProfile
from training.engines import ScriptedEngine
from training.engines.base import Prompt
from training.grpo.baselines import GroupMean
from training.grpo.credit import MemocrCredit
from training.objectives.memocr_drafting import MemocrDrafting, MemocrSettings

QUESTIONS = [
    {"id": f"q{at}", "question": f"where is {at}?", "context": f"{at} is in lyon. " * 8, "answers": ["lyon"]} for at in range(8)
]


def test_a_tiny_qwen_trains_for_three_steps_with_pictures_in_the_loop(tmp_path: Path) -> None:
    from datasets import Dataset

    model, processor = tiny_qwen_vl("2.5", most_tokens=64, alphabet=string.printable)
    letters = {processor.tokenizer.decode([one]): one for one in range(len(processor.tokenizer))}

    def script(prompt: Prompt) -> list[int]:
        """Drafts in words of three letters or more; half of the readings are right."""
        said = (
            ("\\boxed{lyon}" if prompt.attempt % 2 else "no")
            if prompt.images
            else "# lyon has many words" + "!" * prompt.attempt
        )
        return [letters[one] for one in said]

    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    objective = MemocrDrafting(
        TokenCutter(processor.tokenizer),
        reader=ReaderProfile(name="tiny", sees_images=True, pricing=PatchPricing(cell=28)),
        settings=MemocrSettings(budget=64, chunk_tokens=80, memory_tokens=40, answer_tokens=16),
    )

    run = ours(
        tmp_path,
        script=None,
        objective=objective,
        model=(model, processor),
        parts={
            "credit": MemocrCredit(),
            "baseline": GroupMean(scale="none"),
            "engine": ScriptedEngine(script=script),
            "train_dataset": Dataset.from_list(QUESTIONS),
        },
        max_steps=3,
        learning_rate=0.1,
    )

    rollout = run.trainer.rollouts[0]
    roles = [segment.role for segment in rollout.segments]
    assert roles[:-3] == ["draft"] * (len(roles) - 3)
    assert len(roles) > 4
    assert roles[-3:] == ["std", "augM", "augQ"]
    pictures = [list(segment.prompt_ids).count(model.config.image_token_id) for segment in rollout.segments]
    assert not any(pictures[:-3])
    assert pictures[-3] == pictures[-1] <= 64
    assert pictures[-2] <= 4
    assert len(run.gradients) == 3
    assert all(torch.isfinite(one).all() for one in run.gradients)
    assert run.logs[0]["rewards/std"] == pytest.approx(0.5)
    assert run.logs[0]["rewards/augQ"] == pytest.approx(0.0)
    moved = {name: float((one.detach() - before[name]).abs().max()) for name, one in run.trainer.model.named_parameters()}
    assert max(value for name, value in moved.items() if "visual" in name) > 0
    assert max(value for name, value in moved.items() if "visual" not in name) > 0
