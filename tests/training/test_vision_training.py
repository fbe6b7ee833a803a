"""Tiny Qwen2.5-VL and Qwen3-VL through the whole path: drafts, pages drawn from them during the rollout, readings, updates."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memagent.errors import ConfigError, InputError
from memagent.memory.memocr.loops import Loop
from memagent.models.transformers_vlm import TransformersModel
from memagent.types import ImagePart, user_message
from memagent_renderers import Budget, PatchPricing, ReaderProfile, render

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
import transformers
from helpers.checkpoints import GENERATIONS, saved_qwen_vl, tiny_qwen_vl
from scripted_runs import Run, Sizes, config, grade, ours, rows

from memagent_training.checkpoints import attach
from memagent_training.engines import GenerateEngine, ScriptedEngine
from memagent_training.engines.base import Prompt
from memagent_training.grpo.allocators import CobaAllocator, SequentialAllocator
from memagent_training.grpo.baselines import V05Baseline
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.grpo.rollout import Segment
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.policy import Lora, PretrainedPolicy, build_policy
from memagent_training.rollouts import seed_of
from memagent_training.run import shutdown
from memagent_training.run import train as run_to_the_end
from memagent_training.tokenization import PolicyTokenizer
from memagent_training.trainer import MemGRPOTrainer

READINGS = (("std", 8), ("augM", 4), ("augQ", 6))


def reader(generation: str) -> ReaderProfile:
    return ReaderProfile(name="tiny", sees_images=True, pricing=PatchPricing(cell=32 if generation == "3" else 28))


class PictureMemory(PlainBatches):
    """A draft in text, drawn for three budgets and read three times. Tasks that `look` refuses are read without a picture."""

    reward_keys: tuple[str, ...] = ("std", "augM", "augQ")

    def __init__(self, generation: str, *, look: Callable[[Task, int], bool] = lambda task, number: True) -> None:
        self.reader = reader(generation)
        self.look = look

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        problem = str(task["prompt"])
        draft = yield PolicyRequest((user_message(problem),), max_tokens=5, role="draft", seed=seed)
        rewards = {}
        for number, (role, tokens) in enumerate(READINGS):
            page = render(f"# {draft.text}\n{problem} {number}", Budget(tokens, self.reader))
            assert page.tokens <= tokens
            seen = [ImagePart(data=page.png)] if self.look(task, number) else []
            reply = yield PolicyRequest((user_message(f"{problem}?", *seen),), max_tokens=4, role=role, seed=seed)
            rewards[role] = grade(reply.text)
        return EpisodeResult(rewards=rewards, correct=rewards["std"] > 0.5)


def speak(prompt: Prompt) -> list[int]:
    """Six tokens that no other picture, prompt or attempt gets."""
    key = seed_of(*prompt.ids, prompt.images, prompt.attempt)
    return [seed_of(key, at) % 40 for at in range(6)]


def learn(output: Path, generation: str, *, model: Any = None, parts: Any = None, **settings: Any) -> Run:
    options = {"credit": MemocrCredit(), "engine": GenerateEngine()} | (parts or {})
    model = model or tiny_qwen_vl(generation)
    objective = options.pop("objective", None) or PictureMemory(generation)
    return ours(output, script=None, objective=objective, model=model, parts=options, **{"max_steps": 2} | settings)


def in_tower(model: Any) -> Any:
    """Which entries of the vector of all parameters belong to the vision tower."""
    return torch.cat([torch.full((one.numel(),), "visual" in name) for name, one in model.named_parameters()])


def tower_learns(run: Run, before: Any) -> None:
    """Every update has gradients in the vision tower and in the language part, all finite, and both move."""
    tower = in_tower(run.trainer.model)
    for gradient in run.gradients:
        assert torch.isfinite(gradient).all()
        assert gradient[tower].abs().max() > 0
        assert gradient[~tower].abs().max() > 0
    moved = (run.parameters - before).abs()
    assert moved[tower].max() > 0
    assert moved[~tower].max() > 0


def flat(model: Any) -> Any:
    return torch.cat([one.detach().flatten().clone() for one in model.parameters()])


def watched(monkeypatch: pytest.MonkeyPatch, look: Callable[[Any, Any, Any], None]) -> None:
    """Show `look` every forward and backward pass: trainer, model, rows."""
    real = MemGRPOTrainer._compute_loss

    def noted(self: Any, model: Any, inputs: Any) -> Any:
        look(self, model, inputs)
        return real(self, model, inputs)

    monkeypatch.setattr(MemGRPOTrainer, "_compute_loss", noted)


# -- the whole path -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_pictures_drawn_during_the_rollout_train_the_vision_tower(generation: str, tmp_path: Path) -> None:
    model, processor = tiny_qwen_vl(generation)
    before = flat(model)

    run = learn(tmp_path, generation, model=(model, processor))

    tower_learns(run, before)
    rollout = run.trainer.rollouts[0]
    assert [segment.role for segment in rollout.segments] == ["draft", "std", "augM", "augQ"]
    assert [len(segment.images) for segment in rollout.segments] == [0, 1, 1, 1]
    image = model.config.image_token_id
    for segment, (_, tokens) in zip(rollout.segments[1:], READINGS, strict=True):
        assert 0 < list(segment.prompt_ids).count(image) <= tokens
        assert image not in segment.ids
    assert all(one in run.logs[0] for one in ("rewards/std", "rewards/augM", "rewards/augQ", "loss", "grad_norm"))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_parts_without_any_picture_train_too(generation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = set()
    watched(monkeypatch, lambda trainer, model, inputs: kinds.add("pixel_values" in inputs))
    objective = PictureMemory(generation, look=lambda task, number: number == 0)
    model, processor = tiny_qwen_vl(generation)
    before = flat(model)

    run = learn(
        tmp_path,
        generation,
        model=(model, processor),
        parts={"objective": objective, "token_budget": 160},
        gradient_accumulation_steps=4,
        per_device_train_batch_size=2,
    )

    assert kinds == {True, False}
    tower_learns(run, before)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_parts_add_up_to_the_whole_micro_batch(generation: str, tmp_path: Path) -> None:
    parts = {"engine": ScriptedEngine(script=speak)}

    whole = learn(tmp_path / "whole", generation, parts=dict(parts), max_steps=1)
    cut = learn(tmp_path / "cut", generation, parts={**parts, "token_budget": 200}, max_steps=1)
    accumulated = learn(
        tmp_path / "more",
        generation,
        parts=dict(parts),
        max_steps=1,
        gradient_accumulation_steps=4,
        per_device_train_batch_size=2,
    )

    assert any(len(sizes) > 1 for sizes in cut.trainer._sizes)
    torch.testing.assert_close(cut.gradients[0], whole.gradients[0], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(accumulated.gradients[0], whole.gradients[0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_old_and_reference_log_probabilities_with_pictures(generation: str, tmp_path: Path) -> None:
    folder = saved_qwen_vl(tmp_path / "start", generation)
    policy = PretrainedPolicy(kind="pretrained", path=str(folder), vision=True, dtype="float32")
    model, processor, _ = build_policy(policy, alphabet="", seed=0)
    before = flat(model)
    objective = PictureMemory(generation, look=lambda task, number: number == 0)

    run = learn(
        tmp_path / "run",
        generation,
        model=(model, processor),
        parts={"objective": objective, "token_budget": 300},
        beta=0.1,
        steps_per_generation=2,
        per_device_train_batch_size=4,
    )

    tower_learns(run, before)
    batch = run.batches[0]
    torch.testing.assert_close(batch["old_per_token_logps"], batch["ref_per_token_logps"])  # nothing has moved yet
    assert run.logs[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert run.logs[1]["kl"] > 0


@pytest.mark.parametrize("generation", GENERATIONS)
def test_ragged_groups_with_pictures(generation: str, tmp_path: Path) -> None:
    model, processor = tiny_qwen_vl(generation)
    before = flat(model)

    run = learn(tmp_path / "coba", generation, model=(model, processor), parts={"allocator": CobaAllocator(low=2, high=6)})
    uneven = learn(tmp_path / "sizes", generation, parts={"allocator": Sizes(sizes=[3, 2], then=[0, 2])}, max_steps=1)

    tower_learns(run, before)
    assert [len(one.trainer.rollouts) for one in (run, uneven)] == [8, 7]
    assert uneven.gradients[0][in_tower(uneven.trainer.model)].abs().max() > 0


def test_sequential_groups_grow_while_pictures_are_read(tmp_path: Path) -> None:
    from memagent_training.grpo.priors import ConstantPrior

    run = learn(
        tmp_path,
        "3",
        parts={
            "allocator": SequentialAllocator(k_init=3, k_max=6, high=3.0),
            "baseline": V05Baseline(high=3.0),
            "prior": ConstantPrior(constant=2.9),
        },
        max_steps=1,
    )

    assert len(run.trainer.rollouts) > 6
    assert run.gradients[0][in_tower(run.trainer.model)].abs().max() > 0


@pytest.mark.parametrize("generation", GENERATIONS)
def test_lora_on_the_language_part(generation: str, tmp_path: Path) -> None:
    folder = saved_qwen_vl(tmp_path / "start", generation)
    lora = Lora(r=2, target_modules=("q_proj", "v_proj"))
    policy = PretrainedPolicy(kind="pretrained", path=str(folder), vision=True, dtype="float32", lora=lora)
    model, processor, peft = build_policy(policy, alphabet="", seed=0)

    run = learn(tmp_path / "run", generation, model=(model, processor), parts={"peft_config": peft}, beta=0.1)

    trained = {name: one for name, one in run.trainer.model.named_parameters() if one.requires_grad}
    assert trained
    assert all("lora" in name and "language_model" in name for name in trained)
    assert max(float(one.detach().abs().max()) for name, one in trained.items() if "lora_B" in name) > 0  # they start at 0
    assert run.logs[1]["kl"] > 0


# -- which picture belongs to which row -------------------------------------------------------------------------------------


def alone(model: Any, processor: Any, segment: Segment, *, images: Any = None) -> Any:
    """Log-probabilities of one segment without a trainer: one row, no padding, transformers' own calls."""
    ids = torch.tensor([[*segment.prompt_ids, *segment.ids]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    pictures = [Image.open(io.BytesIO(png)).convert("RGB") for png in images or segment.images]
    if pictures:
        inputs |= processor.image_processor(images=pictures, return_tensors="pt")
        inputs["mm_token_type_ids"] = ids.eq(model.config.image_token_id).int()
    with torch.no_grad():
        logits = model(**inputs).logits[0, len(segment.prompt_ids) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(segment.ids)[:, None])[:, 0]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_row_is_trained_on_its_own_picture(generation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []

    def check(trainer: Any, model: Any, inputs: Any) -> None:
        size = len(inputs["prompt_ids"])
        found = trainer._logps(model, inputs, [size])
        segments = {segment.ids: segment for one in trainer.rollouts for segment in one.segments}
        for row in range(size):
            mask = inputs["completion_mask"][row].bool()
            segment = segments.get(tuple(inputs["completion_ids"][row][mask].tolist()))
            if segment is None:
                continue  # a row that fills up
            expected = alone(model, trainer.processing_class, segment)
            torch.testing.assert_close(found[row][mask], expected, atol=5e-6, rtol=0)
            checked.append(bool(segment.images))

    watched(monkeypatch, check)
    objective = PictureMemory(generation, look=lambda task, number: number != 1)

    run = learn(
        tmp_path,
        generation,
        parts={
            "objective": objective,
            "engine": ScriptedEngine(script=speak),
            "token_budget": 250,
            "allocator": Sizes(sizes=[3, 2]),
        },
        gradient_accumulation_steps=2,
        per_device_train_batch_size=4,
        max_steps=1,
    )

    segments = [segment for one in run.trainer.rollouts for segment in one.segments]
    assert len(checked) == len(segments) == 20
    assert checked.count(True) == 10
    pages = {png for segment in segments for png in segment.images}
    assert len(pages) == 10  # as many pictures as readings
    model, processor = run.trainer.model, run.trainer.processing_class
    one, other = next(  # the same prompt beside another page: pictures in the wrong order would have been seen
        (one, other)
        for one in segments
        for other in segments
        if one.images and one.images != other.images and one.prompt_ids == other.prompt_ids
    )
    swapped = alone(model, processor, one, images=other.images)
    assert (swapped - alone(model, processor, one)).abs().max() > 1e-4  # twenty times the tolerance above


@pytest.mark.parametrize("generation", GENERATIONS)
def test_pages_pass_the_processor_at_the_size_and_price_they_were_drawn_at(generation: str) -> None:
    model, processor = tiny_qwen_vl(generation)  # whose own limit is 16 tokens a picture
    policy_tokenizer = PolicyTokenizer(processor, model.config)
    cell = reader(generation).pricing.cell  # type: ignore[union-attr]

    page = render("# words " * 60, Budget(40, reader(generation)))
    ids = policy_tokenizer.encode(PolicyRequest((user_message("?", ImagePart(data=page.png)),))).ids
    seen = policy_tokenizer.pixels([page.png])

    assert page.tokens > 16
    assert ids.count(model.config.image_token_id) == page.tokens
    width, height = Image.open(io.BytesIO(page.png)).size
    assert seen["image_grid_thw"].tolist() == [[1, 2 * height // cell, 2 * width // cell]]
    patch_ = cell // 2
    block = seen["pixel_values"][0].reshape(3, 2, patch_, patch_)[:, 0]  # the top left patch, first of two equal frames
    pictures = processor.image_processor
    mean, std = (torch.tensor(one).reshape(3, 1, 1) for one in (pictures.image_mean, pictures.image_std))
    raw = torch.tensor(list(Image.open(io.BytesIO(page.png)).convert("RGB").crop((0, 0, patch_, patch_)).tobytes()))
    expected = (raw.reshape(patch_, patch_, 3).permute(2, 0, 1) / 255 - mean) / std
    torch.testing.assert_close(block, expected, atol=1e-5, rtol=1e-5)  # no pixel was resampled


# -- folders ----------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("generation", GENERATIONS)
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


@pytest.mark.parametrize("generation", GENERATIONS)
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
    from helpers.checkpoints import saved_llama

    policy = PretrainedPolicy(kind="pretrained", path=str(saved_llama(tmp_path)), vision=True)

    with pytest.raises(ConfigError, match="llama; policies that see are of the Qwen-VL family"):
        build_policy(policy, alphabet="", seed=0)


def test_a_blind_policy_shown_a_picture_stops_the_run(tmp_path: Path) -> None:
    from helpers.checkpoints import tiny_llama

    with pytest.raises(InputError, match="does not see pictures"):
        learn(tmp_path, "3", model=tiny_llama())


# -- two processes --------------------------------------------------------------------------------------------------------


def worker(output: Path, generation: str, shown: str) -> None:
    """One of the processes of a run with scripted replies; the first writes the parameters down."""
    import logging

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    looks = {"one": lambda task, number: task["id"] == shown[3:] and number == 0, "all": lambda task, number: True}
    objective = PictureMemory(generation, look=looks[shown[:3]])
    run = learn(
        output,
        generation,
        parts={"objective": objective, "engine": ScriptedEngine(script=speak)},
        per_device_train_batch_size=8 // world,
        dataloader_num_workers=0,
    )
    if run.trainer.accelerator.is_main_process:
        torch.save({"parameters": run.parameters, "gradients": run.gradients}, output / "result.pt")
    shutdown(run.trainer)
    assert not gloo_threads(), "threads that outlive the group can abort the process"


def gloo_threads() -> list[str]:
    """Threads of this process that serve a process group."""
    names = [(thread / "comm").read_text() for thread in Path("/proc/self/task").glob("*")]
    return [name for name in names if "gloo" in name]


def launched(output: Path, generation: str, shown: str, *, world: int) -> Any:
    output.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = Path(__file__)
    call = f"import pathlib, {here.stem} as t; t.worker(pathlib.Path({str(output)!r}), {generation!r}, {shown!r})"
    processes = []
    for rank in range(world):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parents[1]), str(here.parents[2])]),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        if world > 1:
            environment |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "ACCELERATE_USE_CPU": "true",
            }
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", call], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        told = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0] * world, "\n".join(told)[-3000:]
    return torch.load(output / "result.pt")


@pytest.mark.slow
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("shown", ["onet0", "all"])
def test_two_processes_with_pictures_equal_one(generation: str, shown: str, tmp_path: Path) -> None:
    one = launched(tmp_path / "one", generation, shown, world=1)
    two = launched(tmp_path / "two", generation, shown, world=2)

    for left, right in zip(one["gradients"], two["gradients"], strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(one["parameters"], two["parameters"], atol=1e-6, rtol=1e-4)
