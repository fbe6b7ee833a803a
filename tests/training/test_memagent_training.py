"""The recipes `memagent-7b` and `memocr-qwen3-vl-2b-lora` through the trainer, with tiny random checkpoints in their place."""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")
pytest.importorskip("peft", reason="peft is not installed")

import torch
from helpers.checkpoints import saved_qwen2, saved_qwen_vl

from memagent.errors import ConfigError
from memagent_training.callbacks import read_metrics
from memagent_training.engines import ScriptedEngine
from memagent_training.engines.base import Prompt
from memagent_training.policy import Lora, PretrainedPolicy
from memagent_training.recipe import load_recipe
from memagent_training.run import build_trainer, train
from memagent_training.trainer import MemGRPOTrainer

ROOT = Path(__file__).parents[2]
WORLDS = {"kind": "long_qa", "facts": 3, "hops": [1], "joined": 2}
SMALL: dict[str, object] = {
    "objective.memagent.chunk_tokens": 300,
    "objective.memagent.memory_tokens": 12,
    "objective.memagent.answer_tokens": 4,
    "engine.kind": "generate",
    "rollouts.prompts": 2,
    "rollouts.group_size": 2,
    "rollouts.updates": 1,
    "rollouts.micro_batches": 1,
    "optimizer.steps": 3,
    "optimizer.warmup_steps": 0,
    "save_every": 3,
    "tasks": 8,
    "trl": {},
    "task": WORLDS,
}


def launched(out: Path, start: Path, *, processes: int) -> None:
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "training" / "configs" / "cpu2.yaml")]
    launcher += ["--main_process_port", "0"]
    tables = ["--set", "trl={}", "--set", 'task={kind = "long_qa", facts = 3, hops = [1], joined = 2}']
    plain = {place: value for place, value in SMALL.items() if place not in ("trl", "task")} | {"policy.path": str(start)}
    command = [
        sys.executable,
        *(launcher if processes > 1 else []),
        *["-m", "memagent_training", "run", "--recipe", "memagent-7b", "--out", str(out), "--quiet", "--log-rollouts", *tables],
        *[word for place, value in plain.items() for word in ("--set", f"{place}={json.dumps(value)}")],
    ]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "renderers", ROOT / "training"))),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_the_recipe_trains_a_tiny_qwen2_for_three_steps(processes: int, tmp_path: Path) -> None:
    start = saved_qwen2(tmp_path / "start")

    launched(tmp_path / "out", start, processes=processes)

    steps = [row for row in read_metrics(tmp_path / "out" / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 3]
    assert all("rewards/answer" in row and "kl" in row for row in steps)
    rollouts = [
        json.loads(line) for path in (tmp_path / "out").glob("*rollouts*") for line in path.read_text("utf-8").splitlines()
    ]
    assert len(rollouts) == 3 * 4
    assert (tmp_path / "out" / "checkpoint-3").is_dir()


def test_a_tiny_qwen2_takes_one_step_of_the_recipe(tmp_path: Path) -> None:
    start = saved_qwen2(tmp_path / "start")
    changed = SMALL | {"policy.path": str(start), "optimizer.steps": 1, "save_every": 1, "optimizer.learning_rate": 0.1}
    trainer = build_trainer(load_recipe("memagent-7b", overrides=changed), tmp_path / "out", quiet=True)

    train(trainer)

    roles = [[segment.role for segment in rollout.segments] for rollout in trainer.rollouts]
    assert all(one[-1] == "answer" and set(one[:-1]) == {"draft"} for one in roles)
    assert min(map(len, roles)) >= 4, "joined worlds span several chunks"
    assert max(len(segment.ids) for rollout in trainer.rollouts for segment in rollout.segments) <= 12


def adapters() -> Lora:
    """Of the small recipe."""
    policy = load_recipe("memocr-qwen3-vl-2b-lora").policy
    assert isinstance(policy, PretrainedPolicy)
    assert policy.lora is not None
    return policy.lora


def half_right(trainer: MemGRPOTrainer) -> Callable[[Prompt], list[int]]:
    """The first attempt of each group reads the answer off its picture, the others read nothing."""
    answers = {str(row["question"]): str(row["answers"][0]) for row in trainer.train_dataset}
    tokenizer = trainer.policy_tokenizer._tokenizer

    def script(prompt: Prompt) -> list[int]:
        asked = tokenizer.decode(list(prompt.ids))
        gold = next((answer for question, answer in answers.items() if question in asked), "")
        read = f"\\boxed{{{gold}}}" if gold and prompt.attempt == 0 else "no"
        return list(tokenizer(read if prompt.images else "# words", add_special_tokens=False)["input_ids"])

    return script


def test_adapters_of_the_small_recipe_are_float32_on_a_bfloat16_language_part_and_learn(tmp_path: Path) -> None:
    start = saved_qwen_vl(tmp_path / "start", "3", alphabet=string.printable)
    changed = {
        **{place: value for place, value in SMALL.items() if "memagent" not in place},
        "policy.path": str(start),
        "objective.memocr.budget": 64,
        "objective.memocr.chunk_tokens": 300,
        "objective.memocr.memory_tokens": 24,
        "objective.memocr.answer_tokens": 24,
        "optimizer.steps": 1,
        "save_every": 1,
    }
    trainer = build_trainer(load_recipe("memocr-qwen3-vl-2b-lora", overrides=changed), tmp_path / "out", quiet=True)
    weights = dict(trainer.model.named_parameters())
    trained = {name: one for name, one in weights.items() if one.requires_grad}
    assert trained
    assert all("lora" in name and "language_model" in name for name in trained)
    assert {one.dtype for one in trained.values()} == {torch.float32}
    assert {one.dtype for one in weights.values() if not one.requires_grad} == {torch.bfloat16}
    targets = adapters().target_modules
    assert all(any(f".{target}.lora_" in name for name in trained) for target in targets), "every target is there"
    start_model = {name: one.detach().clone() for name, one in weights.items()}
    trainer.engine = ScriptedEngine(script=half_right(trainer))

    train(trainer)

    assert trainer.ref_model is None, "the start model is the policy without its adapters"
    moved = {name for name, one in weights.items() if not torch.equal(one, start_model[name])}
    assert moved
    assert moved <= set(trained)
    assert (tmp_path / "out" / "checkpoint-1" / "adapter_model.safetensors").is_file()


def test_the_small_recipe_says_what_it_is_for(tmp_path: Path) -> None:
    recipe = load_recipe("memocr-qwen3-vl-2b-lora")
    args = recipe.config(tmp_path, world=1)
    longest = recipe.objective.memocr.chunk_tokens + recipe.objective.memocr.memory_tokens * 2 + 1024
    assert longest < args.vllm_max_model_length <= recipe.rollouts.token_budget
    assert (recipe.policy.kind, adapters().r) == ("pretrained", 32)
    assert (args.bf16, args.activation_checkpointing, args.vllm_enable_sleep_mode) == (True, True, True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"task.kind": "cipher"},
            'objective "memagent" does not go with task "cipher"; it is for "amemgym_questions" or "long_qa"',
        ),
        ({"policy.kind": "tiny"}, 'objective "memagent" needs a chat template: take a pretrained policy'),
        ({"objective.memagent.max_chunks": 0}, "are 1 or more"),
        ({"credit.kind": "memocr"}, 'credit "memocr" spreads the rewards'),
    ],
)
def test_recipes_that_memagent_cannot_run_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_recipe("memagent-7b", overrides=changed)
