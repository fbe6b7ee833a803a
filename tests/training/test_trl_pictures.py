"""What TRL needs in the batch when pictures come from our own rows: the keys, their types, and what each omission does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.checkpoints import GENERATIONS, tiny_qwen_vl
from PIL import Image
from tiny import gradients, scripted_batch, stock_trainer

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

PROMPT = [{"role": "user", "content": "what?"}]
PICTURE_KEYS = {"pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids"}


def picture(tokens: int) -> Image.Image:
    return Image.new("RGB", (64 * tokens, 64), "teal")  # 64 px: two to three cells of either generation


def generated(output: Path, generation: str, rows: list[dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
    model, processor = tiny_qwen_vl(generation)
    trainer = stock_trainer(output, model=model, processing=processor)
    return trainer, trainer._generate_and_score_completions(rows)


def rows_with(*pictures: int) -> list[dict[str, Any]]:
    return [{"prompt": PROMPT, "images": [picture(1 + at) for at in range(count)]} for count in pictures]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_rows_with_pictures_come_with_four_more_keys(tmp_path: Path, generation: str) -> None:
    trainer, batch = generated(tmp_path, generation, rows_with(1, 1, 2, 2))
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    image_token = trainer.model.config.image_token_id

    assert set(batch) - set(scripted_batch([[1]], [0.0])) == PICTURE_KEYS
    assert batch["num_images"] == [1, 1, 2, 2]  # a list of int, one for each row
    assert batch["image_grid_thw"].shape == (6, 3)
    patches = batch["image_grid_thw"].prod(-1)
    assert len(batch["pixel_values"]) == patches.sum()  # pictures in the order of rows
    assert batch["mm_token_type_ids"].shape == ids.shape  # prompt and completion
    assert torch.equal(batch["mm_token_type_ids"] == 1, ids == image_token)
    tokens = batch["mm_token_type_ids"].sum(1)
    assert tokens.tolist() == [part.sum() // 4 for part in torch.split(patches, batch["num_images"])]  # 2 x 2 merged


@pytest.mark.parametrize("generation", GENERATIONS)
def test_rows_without_any_picture_come_without_picture_keys(tmp_path: Path, generation: str) -> None:
    _, batch = generated(tmp_path, generation, [{"prompt": PROMPT}] * 4)

    assert set(batch) == set(scripted_batch([[1]], [0.0]))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_picture_tokens_are_not_sampled_but_video_tokens_are_allowed(tmp_path: Path, generation: str) -> None:
    model, processor = tiny_qwen_vl(generation)

    trainer = stock_trainer(tmp_path, model=model, processing=processor)

    assert trainer.generation_config.suppress_tokens == [model.config.image_token_id]


def test_processes_look_for_unused_weights_when_the_policy_sees(tmp_path: Path) -> None:
    model, processor = tiny_qwen_vl("3")

    assert stock_trainer(tmp_path, model=model, processing=processor).args.ddp_find_unused_parameters is True
    assert stock_trainer(tmp_path).args.ddp_find_unused_parameters is None


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("missing", ["pixel_values", "image_grid_thw", "num_images"])
def test_a_missing_picture_key_is_an_error_or_a_blind_policy(tmp_path: Path, generation: str, missing: str) -> None:
    trainer, batch = generated(tmp_path, generation, rows_with(1, 1, 1, 1))
    del batch[missing]

    if missing == "pixel_values":  # silent: the placeholders are read as text
        trainer._compute_loss(trainer.model, batch).backward()
        assert gradients(trainer.model.model.visual).abs().max() == 0
    else:
        with pytest.raises((TypeError, ValueError, AttributeError, RuntimeError)):
            trainer._compute_loss(trainer.model, batch)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_pictures_of_a_generated_batch_teach_the_vision_tower(tmp_path: Path, generation: str) -> None:
    trainer, batch = generated(tmp_path, generation, rows_with(1, 1, 2, 2))
    batch["advantages"] = torch.tensor([1.0, -1.0, 2.0, -0.5])

    trainer._compute_loss(trainer.model, batch).backward()

    slopes = gradients(trainer.model.model.visual)
    assert torch.isfinite(slopes).all()
    assert slopes.abs().max() > 0
