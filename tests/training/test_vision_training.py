"""Tiny Qwen2.5-VL and Qwen3-VL through the whole path: drafts, pages drawn from them during the rollout, readings, updates."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memagent.errors import InputError
from memagent.types import ImagePart, user_message
from memagent_renderers import Budget, render

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.checkpoints import GENERATIONS, saved_qwen_vl, tiny_llama, tiny_qwen_vl
from helpers.slow import slow
from picture_runs import READINGS, PictureMemory, flat, in_tower, learn, reader, speak, tower_learns
from scripted_runs import ALL_ROWS, Sizes

from memagent_training.engines import ScriptedEngine
from memagent_training.grpo.allocators import CobaAllocator, SequentialAllocator
from memagent_training.grpo.baselines import V05Baseline
from memagent_training.grpo.credit import OutcomeCredit
from memagent_training.grpo.priors import ConstantPrior
from memagent_training.grpo.rollout import Segment
from memagent_training.objectives.base import PolicyRequest
from memagent_training.policy import Lora, PretrainedPolicy, build_policy
from memagent_training.tokenization import PolicyTokenizer
from memagent_training.trainer import MemGRPOTrainer


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


@pytest.mark.parametrize("generation", [slow("2.5"), "3"])
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


@pytest.mark.parametrize("budget", [None, 120])
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_what_is_logged_of_rows_is_what_the_forward_passes_took_in(tmp_path: Path, budget: int | None, layout: str) -> None:
    model, processor = tiny_qwen_vl("3")
    taken: list[int] = []
    seeing: list[set[bool]] = []

    def look(module: Any, arguments: Any, options: Any) -> None:
        ids = options["input_ids"]
        taken.append(ids.numel())
        seeing.append({bool(row.eq(model.config.image_token_id).any()) for row in ids})

    model.model.register_forward_pre_hook(look, with_kwargs=True)
    objective = PictureMemory("3", look=lambda task, number: number != 1)
    parts = {"objective": objective, "engine": ScriptedEngine(script=speak), "token_budget": budget, "layout": layout}

    run = learn(tmp_path, "3", model=(model, processor), parts=parts, max_steps=1, gradient_accumulation_steps=2, **ALL_ROWS)

    told = run.logs[0]
    real = sum(segment.length for one in run.trainer.rollouts for segment in one.segments)
    assert told["rows/tokens"] == sum(taken)
    assert told["rows/max_tokens"] == max(taken) <= (budget or max(taken))
    assert told["rows/padded_share"] == pytest.approx(1 - real / sum(taken))
    assert told["rows/fillers"] == 0
    assert (told["rows/padded_share"] == 0) == (layout == "packed")
    assert all(len(kinds) == 1 for kinds in seeing)  # pictures and text go apart
    assert len(taken) == (4 if budget is None else sum(len(parts) for parts in run.trainer._sizes))


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


@pytest.mark.parametrize("generation", ["2.5", slow("3")])
def test_ragged_groups_with_pictures(generation: str, tmp_path: Path) -> None:
    model, processor = tiny_qwen_vl(generation)
    before = flat(model)

    run = learn(tmp_path / "coba", generation, model=(model, processor), parts={"allocator": CobaAllocator(low=2, high=6)})
    uneven = learn(tmp_path / "sizes", generation, parts={"allocator": Sizes(sizes=[3, 2], then=[0, 2])}, max_steps=1)

    tower_learns(run, before)
    assert [len(one.trainer.rollouts) for one in (run, uneven)] == [8, 7]
    assert uneven.gradients[0][in_tower(uneven.trainer.model)].abs().max() > 0


def test_sequential_groups_grow_while_pictures_are_read(tmp_path: Path) -> None:
    run = learn(
        tmp_path,
        "3",
        parts={
            "allocator": SequentialAllocator(k_init=3, k_max=6),
            "baseline": V05Baseline(),
            "prior": ConstantPrior(constant=2.9),
            "credit": OutcomeCredit(),
        },
        max_steps=1,
    )

    assert len(run.trainer.rollouts) > 6
    assert run.gradients[0][in_tower(run.trainer.model)].abs().max() > 0


@pytest.mark.parametrize("generation", ["2.5", slow("3")])
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
        **ALL_ROWS,
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


def test_a_blind_policy_shown_a_picture_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not see pictures"):
        learn(tmp_path, "3", model=tiny_llama())
