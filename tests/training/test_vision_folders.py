"""Policies that see, in folders: checkpoints that resume and are served, recipes, and runs of two processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import ConfigError
from memagent.models.transformers_vlm import TransformersModel
from memagent.types import ImagePart, user_message
from memagent_renderers import Budget, render

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
import transformers
from helpers.checkpoints import saved_llama, saved_qwen_vl
from helpers.slow import slow
from helpers.training_runs import launch
from picture_runs import CASES, PictureMemory, flat, reader, scripted
from scripted_runs import config, rows

from memagent_training.engines.base import Prompt
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.objectives.base import PolicyRequest
from memagent_training.policy import Lora, PretrainedPolicy, build_policy
from memagent_training.run import train as run_to_the_end
from memagent_training.runs.checkpoints import attach
from memagent_training.trainer import MemGRPOTrainer

HERE = Path(__file__).parent


def trainer_of(output: Path, generation: str, start: Path, *, lora: Lora | None = None, **settings: Any) -> MemGRPOTrainer:
    from datasets import Dataset

    policy = PretrainedPolicy(kind="pretrained", path=str(start), vision=True, dtype="float32", lora=lora)
    model, processor, peft = build_policy(policy, alphabet="", seed=0)
    trainer = MemGRPOTrainer(
        model,
        objective=PictureMemory(generation),
        args=config(output, save_strategy="steps", save_steps=1, **settings),
        train_dataset=Dataset.from_list(rows()),
        processing_class=processor,
        credit=MemocrCredit(),
        **({"peft_config": peft} if peft else {}),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    attach(trainer)
    return trainer


@pytest.mark.parametrize("generation", [slow("2.5"), "3"])
def test_a_run_resumes_and_its_checkpoint_is_served(generation: str, tmp_path: Path) -> None:
    start = saved_qwen_vl(tmp_path / "start", generation)
    straight = trainer_of(tmp_path / "straight", generation, start, max_steps=2)
    run_to_the_end(straight)
    run_to_the_end(trainer_of(tmp_path / "halves", generation, start, max_steps=1))
    resumed = trainer_of(tmp_path / "halves", generation, start, max_steps=2)

    run_to_the_end(resumed, resume=True)

    assert torch.equal(flat(resumed.model), flat(straight.model))
    assert not torch.equal(flat(resumed.model), flat(build(start)))
    page = render("# 7", Budget(8, reader(generation)))
    messages = (user_message("what?", ImagePart(data=page.png)),)
    with TransformersModel(str(tmp_path / "halves" / "checkpoint-2"), local_files_only=True, dtype="float32") as served:
        reply = served.generate(messages, max_tokens=5)
        assert reply.usage.visual == page.tokens
    prompt = resumed.policy_tokenizer.encode(PolicyRequest(messages, max_tokens=5))
    assert reply.usage.text_in + reply.usage.visual == len(prompt.ids)
    assert resumed.policy_tokenizer.decode(greedy(resumed, prompt)) == reply.text  # trained and served alike


@pytest.mark.parametrize("generation", [slow("2.5"), "3"])
def test_adapters_resume_too(generation: str, tmp_path: Path) -> None:
    start = saved_qwen_vl(tmp_path / "start", generation)
    lora = Lora(r=2, target_modules=("q_proj", "v_proj"))
    straight = trainer_of(tmp_path / "straight", generation, start, lora=lora, max_steps=2)
    run_to_the_end(straight)
    run_to_the_end(trainer_of(tmp_path / "halves", generation, start, lora=lora, max_steps=1))
    resumed = trainer_of(tmp_path / "halves", generation, start, lora=lora, max_steps=2)

    run_to_the_end(resumed, resume=True)

    assert torch.equal(flat(resumed.model), flat(straight.model))


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    start = saved_qwen_vl(tmp_path / "start", "2.5")
    run_to_the_end(trainer_of(tmp_path / "run", "2.5", start, max_steps=1))
    weights = tmp_path / "run" / "checkpoint-1" / "model.safetensors"
    kept = {name: one for name, one in load_file(weights).items() if "blocks.1" not in name}
    save_file(kept, weights, metadata={"format": "pt"})
    resumed = trainer_of(tmp_path / "run", "2.5", start, max_steps=2)

    with pytest.raises(ConfigError, match=r"lacks \d+ weights of the policy, such as model.visual.blocks.1"):
        resumed.train(resume_from_checkpoint=str(weights.parent))


def build(start: Path) -> Any:
    return build_policy(
        PretrainedPolicy(kind="pretrained", path=str(start), vision=True, dtype="float32"), alphabet="", seed=0
    )[0]


def greedy(trainer: MemGRPOTrainer, prompt: Prompt) -> list[int]:
    inputs = trainer.policy_tokenizer.tensors([prompt], device="cpu")
    settings = transformers.GenerationConfig(
        do_sample=False,
        max_new_tokens=prompt.max_tokens,
        eos_token_id=trainer.eos_token_ids,
        pad_token_id=trainer.policy_tokenizer.pad_id,
    )
    ids: list[int] = trainer.model.eval().generate(**inputs, generation_config=settings)[0, len(prompt.ids) :].tolist()
    return ids


def test_a_vision_policy_is_named_in_a_recipe(tmp_path: Path) -> None:
    from memagent_training.recipe import Recipe
    from memagent_training.run import build_trainer

    start = saved_qwen_vl(tmp_path / "start", "3")
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(
        "".join(json.dumps({"id": str(at), "prompt": f"{at}+1=", "answer": str(at + 1)}) + "\n" for at in range(4))
    )
    recipe = Recipe.model_validate(
        {
            "name": "see",
            "policy": {"kind": "pretrained", "path": str(start), "vision": True, "dtype": "float32"},
            "task": {"kind": "file", "path": str(tasks)},
            "objective": {"max_tokens": 4},
            "rollouts": {"prompts": 2, "group_size": 2},
            "optimizer": {"steps": 1},
            "trl": {"use_cpu": True},
        }
    )
    trainer = build_trainer(recipe, tmp_path / "out", quiet=True)

    run_to_the_end(trainer)

    assert isinstance(trainer.processing_class, transformers.Qwen3VLProcessor)
    with TransformersModel(str(tmp_path / "out" / "checkpoint-1"), local_files_only=True) as served:
        assert served.reader.sees_images


def test_a_policy_without_eyes_is_refused_as_one_that_sees(tmp_path: Path) -> None:
    policy = PretrainedPolicy(kind="pretrained", path=str(saved_llama(tmp_path)), vision=True)

    with pytest.raises(ConfigError, match="llama; policies that see are of the Qwen-VL family"):
        build_policy(policy, alphabet="", seed=0)


# -- two processes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """Every case, by two processes. One start for all: it takes longer than they do."""
    folder = tmp_path_factory.mktemp("two")
    launch([sys.executable, str(HERE / "picture_runs.py"), str(folder)], world=2, cwd=folder, seconds=500)
    return {(generation, shown): torch.load(folder / f"{generation}-{shown}.pt") for generation, shown in CASES}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("generation", "shown"), CASES)
def test_two_processes_with_pictures_equal_one(
    generation: str, shown: str, two: dict[tuple[str, str], Any], tmp_path: Path
) -> None:
    one, other = scripted(tmp_path, generation, shown), two[generation, shown]

    for left, right in zip(one.gradients, other["gradients"], strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(one.parameters, other["parameters"], atol=1e-6, rtol=1e-4)
