"""Rows as tensors: a case by hand, and every token, mask, advantage and picture where it should be for any rows and any cut."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from accelerate.utils import DistributedType
from helpers.checkpoints import tiny_llama, tiny_qwen_vl

from memagent_training.grpo.packing import pack
from memagent_training.grpo.rollout import Segment
from memagent_training.rows.batch import (
    VISION,
    Batch,
    TrainingRow,
    filler,
    placed,
    split,
    to_tensors,
    tower_is_shared,
    trim,
)
from memagent_training.tokenization import PolicyTokenizer

MODEL, TOKENIZER = tiny_llama()
TEXT = PolicyTokenizer(TOKENIZER, MODEL.config)
SEEING_MODEL, PROCESSOR = tiny_qwen_vl("3")
SEEING = PolicyTokenizer(PROCESSOR, SEEING_MODEL.config)
IMAGE = SEEING_MODEL.config.image_token_id
PAD = TEXT.pad_id


def png(shade: int, width: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 64), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def row(prompt: list[int], said: list[int], advantages: list[float] | None = None, **options: Any) -> TrainingRow:
    values = np.array([0.5] * len(said) if advantages is None else advantages)
    return TrainingRow(Segment(prompt_ids=prompt, ids=said, **options), values, rollout_id="r")


def test_rows_by_hand() -> None:
    rows = [
        row([1, 2, 3], [4, 5], [0.25, -0.5], mask=[1, 0], logprobs=[-0.1, 0.0]),
        row([6], [7, 8, 9], [1.0, 2.0, 3.0], logprobs=[-1.0, -2.0, float("nan")]),
        filler(None, PAD),
    ]

    batch = to_tensors(rows, TEXT)

    assert next(iter(batch)) == "prompt_ids"
    assert batch["prompt_ids"].tolist() == [[1, 2, 3], [PAD, PAD, 6], [PAD, PAD, PAD]]
    assert batch["prompt_mask"].tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]
    assert batch["completion_ids"][:2].tolist() == [[4, 5, PAD], [7, 8, 9]]
    assert batch["completion_mask"][:2].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["advantages"].tolist() == [[0.25, -0.5, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    assert batch["advantages"].dtype == torch.float32
    assert batch["tool_mask"][:2].tolist() == [[1, 0, 1], [1, 1, 1]]
    assert not (batch["tool_mask"] * batch["completion_mask"])[2].any()  # what fills up is in no loss
    torch.testing.assert_close(
        batch["sampling_per_token_logps"][:2], torch.tensor([[-0.1, 0.0, 0.0], [-1.0, -2.0, float("nan")]]), equal_nan=True
    )


def test_plain_answers_have_trls_keys_and_no_others() -> None:
    batch = to_tensors([row([1], [2]), row([3], [4, 5])], TEXT)

    assert set(batch) == {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages"}


def test_scores_are_there_only_when_all_rows_have_them() -> None:
    scored, bare = row([1], [2], logprobs=[-1.0]), row([1], [2])

    assert "sampling_per_token_logps" in to_tensors([scored, filler(None, PAD)], TEXT)
    assert "sampling_per_token_logps" not in to_tensors([scored, bare], TEXT)


def test_pictures_by_hand() -> None:
    rows = [
        row([IMAGE] * 4 + [1], [2], images=[png(10)]),
        row([3], [4]),
        row([IMAGE] * 4 + [5] + [IMAGE] * 6, [6, 7], images=[png(20), png(30, 96)]),
    ]

    batch = to_tensors(rows, SEEING)

    assert batch["num_images"] == [1, 0, 2]
    assert batch["image_grid_thw"].tolist() == [[1, 4, 4], [1, 4, 4], [1, 4, 6]]
    assert batch["pixel_values"].shape[0] == 16 + 16 + 24
    assert batch["mm_token_type_ids"].tolist() == [
        [0] * 6 + [1] * 4 + [0] + [0, 0],
        [0] * 11 + [0, 0],
        [1] * 4 + [0] + [1] * 6 + [0, 0],
    ]
    one, none, both = split(batch, [1, 1, 1])
    assert one["mm_token_type_ids"].tolist() == [[1, 1, 1, 1, 0, 0]]
    torch.testing.assert_close(one["pixel_values"], SEEING.pixels([png(10)])["pixel_values"])
    assert not {*VISION, "mm_token_type_ids"} & set(none)
    assert none["prompt_ids"].tolist() == [[3]]
    assert both["num_images"] == [2]
    torch.testing.assert_close(both["pixel_values"], SEEING.pixels([png(20), png(30, 96)])["pixel_values"])


def test_filling_up_repeats_a_picture_and_trains_nothing() -> None:
    small = row([IMAGE] * 4, [1, 2], images=[png(1)], role="std")
    rows = [row([1], [2]), row([IMAGE] * 6, [1], images=[png(2, 96)]), small]

    blank = filler(small, PAD)

    assert (blank.segment.prompt_ids, blank.segment.images) == (small.segment.prompt_ids, small.segment.images)
    assert set(blank.segment.ids) == {PAD}
    assert blank.rollout_id == ""
    batch = to_tensors([*rows, blank], SEEING)
    assert batch["num_images"] == [0, 1, 1, 1]
    assert batch["tool_mask"][3, : len(blank.segment.ids)].sum() == 0
    assert batch["tool_mask"][:3].all()
    assert not filler(None, PAD).segment.images


def test_an_empty_part_is_filled_up_by_its_kind() -> None:
    rows = [row([1], [2]), row([IMAGE] * 4, [1], images=[png(1)]), row([3], [4])]
    packing = pack([(1, 1), (4, 1), (1, 1)], world=2, vision=[False, True, False], tower_everywhere=True)

    shares = [placed(rows, packing, rank=rank, pad_id=PAD) for rank in range(2)]

    assert packing.pictures == ((True, False),)
    assert shares[0] == [[[rows[1]], [rows[2]]]]
    [[[shown], text]] = shares[1]
    assert text == [rows[0]]
    assert (shown.segment.images, shown.rollout_id) == (rows[1].segment.images, "")
    unshared = pack([(1, 1), (4, 1), (1, 1)], world=2, vision=[False, True, False])
    blank = placed(rows, unshared, rank=1, pad_id=PAD)[0][0][0]
    assert (blank.segment.images, blank.rollout_id) == ((), "")


def processes(kind: DistributedType, *, count: int = 2, stage: int = 0) -> Any:
    plugin = SimpleNamespace(zero_stage=stage)
    return SimpleNamespace(distributed_type=kind, num_processes=count, deepspeed_plugin=plugin)


def test_the_tower_is_shared_where_its_weights_are_or_where_it_learns() -> None:
    learning = tiny_qwen_vl("2.5")[0]
    frozen = tiny_qwen_vl("2.5")[0]
    frozen.model.visual.requires_grad_(False)

    assert not tower_is_shared(learning, processes(DistributedType.NO, count=1))
    assert tower_is_shared(learning, processes(DistributedType.MULTI_CPU))
    assert tower_is_shared(learning, processes(DistributedType.DEEPSPEED, stage=2))
    assert not tower_is_shared(frozen, processes(DistributedType.MULTI_GPU))
    assert not tower_is_shared(frozen, processes(DistributedType.DEEPSPEED, stage=2))
    assert tower_is_shared(frozen, processes(DistributedType.DEEPSPEED, stage=3))
    assert tower_is_shared(frozen, processes(DistributedType.FSDP))
    assert not tower_is_shared(MODEL, processes(DistributedType.MULTI_GPU))


def test_trimming_takes_off_only_what_is_padding_in_all_rows() -> None:
    batch: Batch = {
        "prompt_ids": torch.tensor([[0, 0, 0, 1], [0, 0, 2, 3]]),
        "prompt_mask": torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]),
        "completion_ids": torch.tensor([[4, 0, 0], [5, 6, 0]]),
        "completion_mask": torch.tensor([[1, 0, 0], [1, 1, 0]]),
        "advantages": torch.tensor([[1.0, 0, 0], [2.0, 3.0, 0]]),
        "importance_sampling_ratio": torch.tensor([[0.5], [0.7]]),
        "num_items_in_batch": torch.tensor(9),
    }

    trimmed = trim(batch)

    assert trimmed["prompt_ids"].tolist() == [[0, 1], [2, 3]]
    assert trimmed["prompt_mask"].tolist() == [[0, 1], [1, 1]]
    assert trimmed["completion_ids"].tolist() == [[4, 0], [5, 6]]
    assert trimmed["advantages"].tolist() == [[1, 0], [2, 3]]
    assert trimmed["importance_sampling_ratio"].tolist() == batch["importance_sampling_ratio"].tolist()
    assert trimmed["num_items_in_batch"] is batch["num_items_in_batch"]


SIZES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2), st.booleans(), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=8), st.data(), st.booleans())
def test_every_token_mask_advantage_and_picture_lands_where_it_should(
    sizes: list[tuple[int, int, int, bool, bool]], data: st.DataObject, sequence_weights: bool
) -> None:
    rows = []
    for number, (before, said, pictures, masked, filling) in enumerate(sizes):
        marks = [one for _ in range(pictures) for one in (40, *[IMAGE] * 4)]
        segment = Segment(
            prompt_ids=[*marks, *((number + at) % 30 for at in range(before))],
            ids=[(number * 7 + at) % 30 for at in range(said)],
            mask=[(at + 1) % 2 for at in range(said)] if masked else None,
            images=[png((number * 3 + at) * 9) for at in range(pictures)],
        )
        rows.append(TrainingRow(segment, np.array([number + at / 8 for at in range(said)]), "" if filling else f"r{number}"))
    whole = to_tensors(rows, SEEING)
    whole["num_items_in_batch"] = torch.tensor(77)
    wide = whole["completion_ids"].shape[1]
    column = torch.arange(len(rows), dtype=torch.float32)[:, None]
    whole["importance_sampling_ratio"] = column if sequence_weights else column.expand(-1, wide).clone()
    whole["old_per_token_logps"] = -whole["completion_ids"].float()
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1), max_size=3)) if len(rows) > 1 else [])
    parts = [end - start for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]

    pieces = split(whole, parts)

    start = 0
    for piece, size in zip(pieces, parts, strict=True):
        of_piece = rows[start : start + size]
        assert piece["prompt_ids"].shape == (size, max(len(one.segment.prompt_ids) for one in of_piece))
        assert piece["completion_ids"].shape == (size, max(len(one.segment.ids) for one in of_piece))
        assert int(piece["num_items_in_batch"]) == 77
        images = [image for one in of_piece for image in one.segment.images]
        assert ("pixel_values" in piece) == bool(images)
        if images:
            assert piece["num_images"] == [len(one.segment.images) for one in of_piece]
            torch.testing.assert_close(piece["pixel_values"], SEEING.pixels(images)["pixel_values"], atol=0, rtol=0)
        for at, one in enumerate(of_piece):
            _lands(piece, at, one, start + at)
        start += size


def _lands(piece: Batch, at: int, row: TrainingRow, number: int) -> None:
    segment, length = row.segment, len(row.segment.ids)
    left = piece["prompt_ids"].shape[1] - len(segment.prompt_ids)
    assert piece["prompt_ids"][at].tolist() == [SEEING.pad_id] * left + list(segment.prompt_ids)
    assert piece["prompt_mask"][at].tolist() == [0] * left + [1] * len(segment.prompt_ids)
    right = piece["completion_ids"].shape[1] - length
    assert piece["completion_ids"][at].tolist() == list(segment.ids) + [SEEING.pad_id] * right
    assert piece["completion_mask"][at].tolist() == [1] * length + [0] * right
    assert piece["advantages"][at].tolist() == [*row.advantages.tolist(), *[0.0] * right]
    wanted = [0] * length if not row.rollout_id else list(segment.mask or [1] * length)
    in_loss = piece["completion_mask"][at] * (piece["tool_mask"][at] if "tool_mask" in piece else 1)
    assert in_loss.tolist() == wanted + [0] * right
    assert piece["old_per_token_logps"][at, :length].tolist() == [-float(one) for one in segment.ids]
    assert piece["importance_sampling_ratio"][at, 0] == number
    assert piece["importance_sampling_ratio"].shape[1] in (1, length + right)
    if "mm_token_type_ids" in piece:
        assert piece["mm_token_type_ids"].shape[1] == piece["prompt_ids"].shape[1] + piece["completion_ids"].shape[1]
        seen = [0] * left + [int(one == IMAGE) for one in segment.prompt_ids] + [0] * (length + right)
        assert piece["mm_token_type_ids"][at].tolist() == seen
