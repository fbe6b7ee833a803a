"""MemOCR's objective through the trainer: a tiny random Qwen2.5-VL learns from pictures drawn during its rollouts."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import ConfigError
from memagent.text.token_chunks import TokenCutter
from memagent_renderers import PatchPricing, ReaderProfile

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.checkpoints import saved_qwen_vl, tiny_qwen_vl
from helpers.training_runs import TINY_RUN, run_recipe
from scripted_runs import ours

from memagent_training.engines import ScriptedEngine
from memagent_training.engines.base import Prompt
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.objectives.memocr_drafting import MemocrDrafting, MemocrSettings
from memagent_training.recipe import load_recipe
from memagent_training.runs.callbacks import read_metrics
from memagent_training.tasks.long_qa import LongQuestions

QUESTIONS = [
    {"id": f"q{at}", "question": f"where is {at}?", "context": f"{at} is in lyon. " * 8, "answers": ["lyon"]} for at in range(8)
]


@pytest.mark.slow
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


# -- the published recipe ---------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
SMALL = TINY_RUN | {"objective.budget": 64, "log_every": 1}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_the_published_recipe_trains_a_tiny_qwen_for_three_steps(processes: int, tmp_path: Path) -> None:
    start = saved_qwen_vl(tmp_path / "start", "2.5", alphabet=string.printable)

    run_recipe(
        "memocr-qwen25-vl-7b",
        tmp_path / "out",
        SMALL | {"policy.path": str(start)},
        tables={"trl": "{}", "task": '{kind = "long_qa", facts = 3, hops = [1]}'},
        processes=processes,
    )

    metrics = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert [row["step"] for row in metrics if "loss" in row] == [1, 2, 3]
    assert all("rewards/std" in row and "kl" in row for row in metrics if "loss" in row)
    assert (tmp_path / "out" / "checkpoint-3").is_dir()
    logged = "".join(path.read_text("utf-8") for path in (tmp_path / "out").glob("*rollouts*"))
    assert '"augM"' in logged


def test_the_published_setting() -> None:
    recipe = load_recipe("memocr-qwen25-vl-7b")
    assert (recipe.policy.path, recipe.policy.vision, recipe.policy.lora) == ("Qwen/Qwen2.5-VL-7B-Instruct", True, None)
    assert (recipe.rollouts.prompts, recipe.rollouts.group_size, recipe.rollouts.updates) == (64, 16, 4)
    assert (recipe.rollouts.temperature, recipe.rollouts.top_p) == (1.0, 0.999)
    assert (recipe.loss.clip_low, recipe.loss.clip_high, recipe.loss.dual_clip, recipe.loss.kl) == (0.2, 0.2, 3.0, 0.001)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (1e-6, 0.01)
    assert recipe.optimizer.warmup_steps == 20 * recipe.rollouts.updates
    assert recipe.optimizer.steps == 1000 * recipe.rollouts.updates
    assert recipe.credit.weights == (1.0, 0.7, 0.3)
    assert recipe.credit.scale_reading
    settings = recipe.objective
    assert (settings.budget, settings.layout, settings.blur) == (512, "shrink", False)
    assert (settings.chunk_tokens, settings.memory_tokens, settings.answer_tokens) == (5000, 2048, 2048)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"task.kind": "cipher"},
            'objective "memocr" does not go with task "cipher"; it is for amemgym_questions, long_qa',
        ),
        (
            {"objective.kind": "single_turn", "credit.kind": "outcome"},
            'objective "single_turn" does not go with task "long_qa".*use "memocr"',
        ),
        ({"policy.vision": False}, "policy.vision = true"),
        ({"objective.budget": 8}, "16 or more"),
    ],
)
def test_recipes_that_memocr_cannot_run_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_recipe("memocr-qwen25-vl-7b", overrides=changed)


def test_made_worlds_and_files_give_rows(tmp_path: Path) -> None:
    made = LongQuestions(facts=5, hops=(1,)).tasks(3, seed=2)
    assert made == LongQuestions(facts=5, hops=(1,)).tasks(3, seed=2)
    for row in made:
        assert str(row["context"]).count("Document ") == 5
        (answer,) = row["answers"]  # type: ignore[misc]
        assert answer in str(row["context"])

    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in made), "utf-8")
    assert list(LongQuestions(data=str(path)).tasks(2, seed=0)) == made[:2]
    path.write_text('{"id": "a", "question": "q", "context": "c", "answers": []}', "utf-8")
    with pytest.raises(ConfigError, match=r"line 1.*`answers`"):
        LongQuestions(data=str(path)).tasks(1, seed=0)
    with pytest.raises(ConfigError, match="there is no task file"):
        LongQuestions(data=str(tmp_path / "none")).tasks(1, seed=0)
