"""From scored groups to training rows, to the dictionary of tensors that TRL's loss takes, and to micro-batches.

One row holds one segment: its prompt padded on the left, what followed padded on the right. Where `Packing` leaves a part
empty, a row fills it up that has no token in the loss; it shows a picture where the vision tower must run on every process. A
part without any picture loses the vision keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import DistributedType
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

from memagent.errors import ConfigError
from memagent_training.grpo.credit.base import Credit
from memagent_training.grpo.credit.broadcast import weigh_by_prompt
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.packing import FILLER, Packing
from memagent_training.grpo.rollout import Group, Segment
from memagent_training.grpo.validate import Floats
from memagent_training.rows.balance import balanced_over
from memagent_training.tokenization import PolicyTokenizer

Batch = dict[str, Any]
Weighting = Literal["rollout", "prompt"]
"""`rollout`: every rollout counts the same. `prompt`: every prompt does, whatever the size of its group (V0.5)."""
VISION = ("pixel_values", "image_grid_thw", "num_images")


@dataclass(frozen=True)
class TrainingRow:
    """A segment and what each of its tokens is to learn."""

    segment: Segment
    advantages: Floats
    """(T,)"""
    rollout_id: str = ""
    """The rollout that the segment is of; "" for a row that only fills up: none of its tokens is in the loss."""


def to_rows(groups: Sequence[Group], *, credit: Credit, judge: Judge, weighting: Weighting) -> list[TrainingRow]:
    """One row for each segment with a token in the loss, group by group. Segments of weight 0 are left out."""
    spread = credit.assign(groups, judge=judge)
    if weighting == "prompt":
        spread = weigh_by_prompt(spread, groups)
    return [
        TrainingRow(segment=segment, advantages=values * segment.weight, rollout_id=rollout.id)
        for group, of_group in zip(groups, spread, strict=True)
        for rollout, of_rollout in zip(group, of_group, strict=True)
        for segment, values in zip(rollout.segments, of_rollout, strict=True)
        if segment.trained and segment.weight
    ]


def to_tensors(rows: Sequence[TrainingRow], tokenizer: PolicyTokenizer) -> Batch:
    """The rows as TRL's keys: ids and masks of shape (B, P) and (B, T), advantages (B, T), the pictures' tensors.

    `tool_mask` (1 = in the loss) is there only when a token is not, `sampling_per_token_logps` and `roles` only when every
    segment has log-probabilities: a batch of plain answers is the one that TRL itself would make.
    """
    prompts = [row.segment.prompt_ids for row in rows]
    said = [row.segment.ids for row in rows]
    prompt_ids = _padded(prompts, tokenizer.pad_id, left=True)
    completion_ids = _padded(said, tokenizer.pad_id)
    ones = [[1] * len(ids) for ids in said]
    batch: Batch = {
        "prompt_ids": prompt_ids,
        "prompt_mask": _padded([[1] * len(ids) for ids in prompts], 0, left=True),
        "completion_ids": completion_ids,
        "completion_mask": _padded(ones, 0),
        "advantages": _padded([row.advantages.tolist() for row in rows], 0.0),
    }
    loss_masks = [
        [0] * len(one) if not row.rollout_id else one if row.segment.mask is None else [*row.segment.mask]
        for row, one in zip(rows, ones, strict=True)
    ]
    if not all(map(all, loss_masks)):
        batch["tool_mask"] = _padded(loss_masks, 1)
    logprobs = [row.segment.logprobs for row in rows]
    if all(scores is not None for scores in logprobs):
        batch["sampling_per_token_logps"] = _padded([list(scores or ()) for scores in logprobs], 0.0)
        batch["roles"] = [row.segment.role for row in rows]
    images = [png for row in rows for png in row.segment.images]
    if images:
        places = torch.cat([tokenizer.places(prompt_ids), torch.zeros_like(completion_ids)], dim=1)  # (B, P+T)
        batch |= {
            **tokenizer.pixels(images),
            "num_images": [len(row.segment.images) for row in rows],
            "mm_token_type_ids": places,
        }
    return batch


def _padded(rows: Sequence[Sequence[float]], value: float, *, left: bool = False) -> torch.Tensor:
    """Rows of unequal length as one tensor (B, longest)."""
    width = max(map(len, rows))
    whole = [[value] * (width - len(row)) + list(row) if left else list(row) + [value] * (width - len(row)) for row in rows]
    return torch.tensor(whole)


def check_rows_are_rollouts(rows: Sequence[TrainingRow], *, world: int, cuts: int, loss: str) -> None:
    """Losses that average over rows mean rollouts by them, equally many in each of `cuts` micro-batches of `world` processes.

    Raises `ConfigError` where rows are others.
    """
    rollouts = len({row.rollout_id for row in rows})
    if len(rows) != rollouts or len(rows) % (world * cuts):
        raise ConfigError(
            f'loss_type "{loss}" averages over rows, but there are {len(rows)} rows of {rollouts} rollouts for '
            f'{cuts} micro-batches of {world} processes; use loss_type = "dapo" with ragged groups or several '
            "conversations a rollout"
        )
    if world > 1 and len({bool(row.segment.images) for row in rows}) > 1:
        raise ConfigError(
            f'loss_type "{loss}" averages over rows, so those with pictures cannot be computed apart from those '
            'without, as several processes need it; use loss_type = "dapo"'
        )


def placed(rows: Sequence[TrainingRow], packing: Packing, *, rank: int, pad_id: int) -> list[list[list[TrainingRow]]]:
    """[micro-batch][part]: what a process computes, fillers where it has no row for a part."""
    shown = None if packing.shown is None else rows[packing.shown]
    fillers = {True: filler(shown, pad_id), False: filler(None, pad_id)}
    return [
        [[rows[index] for index in part] or [fillers[kind]] for part, kind in zip(parts, kinds, strict=True)]
        for parts, kinds in zip(packing.parts[rank], packing.pictures, strict=True)
    ]


def filler(shown: TrainingRow | None, pad_id: int) -> TrainingRow:
    """A row that trains nothing: the prompt and pictures of `shown`, or a pad token.

    It says two tokens: TRL takes a micro-batch of single tokens for one value a sequence, and counts all of it in its metrics.
    """
    prompt, said = FILLER
    blank = Segment(prompt_ids=(pad_id,) * prompt, ids=(pad_id,) * said, logprobs=(0.0,) * said)
    if shown is not None:
        of = shown.segment
        blank = replace(blank, prompt_ids=of.prompt_ids, images=of.images, role=of.role)
    return TrainingRow(blank, np.zeros(said))


def tower_is_shared(model: Any, accelerator: Any) -> bool:
    """Whether the processes meet in the vision tower of `model`, so that it has to run on all of them or on none.

    They gather its weights where those are sharded (FSDP, ZeRO-3), and its gradients where it learns.
    """
    kind = accelerator.distributed_type
    if accelerator.num_processes == 1:
        return False
    if kind == DistributedType.FSDP or (kind == DistributedType.DEEPSPEED and accelerator.deepspeed_plugin.zero_stage == 3):
        return True
    return any(one.requires_grad for name, one in model.named_parameters() if "visual" in name.split("."))


def split(batch: Batch, sizes: Sequence[int]) -> list[Batch]:
    """Cut a batch into consecutive pieces of so many rows, each without the columns that are padding in all its rows."""
    whole = split_pixel_values_by_grid(batch)
    pieces, start = [], 0
    for size in sizes:
        piece = {
            key: value if isinstance(value, torch.Tensor) and value.ndim == 0 else value[start : start + size]
            for key, value in whole.items()
        }
        pieces.append(trim(unsplit_pixel_values_by_grid(piece)))
        start += size
    return pieces


def forward_inputs(part: dict[str, Any]) -> dict[str, Any]:
    """What TRL's pass for log-probabilities takes of rows."""
    return {
        "input_ids": torch.cat([part["prompt_ids"], part["completion_ids"]], dim=1),
        "attention_mask": torch.cat([part["prompt_mask"], part["completion_mask"]], dim=1),
        "logits_to_keep": part["completion_ids"].shape[1],
        **{key: part[key] for key in (*VISION, "mm_token_type_ids") if key in part},
    }


def loss_of_parts(trainer: Any, model: Any, parts: Sequence[Batch]) -> torch.Tensor:
    """The loss of a micro-batch in parts that must not be in memory at once; in training, all but the last go backward here."""
    tokens = [int((part["completion_mask"] * part.get("tool_mask", 1)).sum()) for part in parts]
    total = max(1, sum(tokens))
    loss: torch.Tensor | None = None
    inputs = [forward_inputs(part) for part in parts]
    with _told_once(trainer, tokens), balanced_over(trainer, model, inputs), _rows_may_differ(trainer.accelerator):
        for part, count in zip(parts, tokens, strict=True):
            if loss is not None and loss.requires_grad:
                trainer.accelerator.backward(loss)
            with _averages_weighed(trainer, count / total):
                done = 0.0 if loss is None else loss.detach()
                loss = trainer._compute_loss(model, part) + done
            if model.training:
                trainer.gap.note(part)
    assert loss is not None
    return loss


@contextmanager
def _rows_may_differ(accelerator: Any) -> Iterator[None]:
    """TRL gathers some metrics row by row; a process with fewer rows than others adds NaN, which TRL passes over."""
    gather = accelerator.gather
    accelerator.gather = lambda values: gather(accelerator.pad_across_processes(values, pad_index=math.nan))
    try:
        yield
    finally:
        del accelerator.gather


@contextmanager
def _told_once(trainer: Any, tokens: Sequence[int]) -> Iterator[None]:
    """TRL notes its metrics at every part; of these the micro-batch has one, as if it had gone through at once.

    `tokens` are those of the parts that are in the loss, on this process.
    """
    metrics = trainer._metrics["train" if trainer.model.training else "eval"]
    before = {name: len(noted) for name, noted in metrics.items()}
    yield
    if len(tokens) < 2:
        return
    counts = torch.tensor(tokens, dtype=torch.float32, device=trainer.accelerator.device)
    weights = trainer.accelerator.reduce(counts, reduction="sum").tolist()
    for name, noted in metrics.items():
        values = noted[before.get(name, 0) :]
        if len(values) == len(tokens):
            noted[before.get(name, 0) :] = [_joined(name, values, weights)]


def _joined(name: str, values: Sequence[float], weights: Sequence[float]) -> float:
    """One number for a metric of several parts, which is NaN where a part has no row."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if not math.isnan(value)]
    if not known:
        return math.nan
    if name == "policy_loss":
        return sum(value for value, _ in known)
    if name.endswith(("_min", "_max")):
        return (min if name.endswith("_min") else max)(value for value, _ in known)
    return sum(value * weight for value, weight in known) / max(1.0, sum(weight for _, weight in known))


@contextmanager
def _averages_weighed(trainer: Any, share: float) -> Iterator[None]:
    """What TRL averages over the tokens of one call and adds to the loss counts by `share`, the call's part of a micro-batch.

    Entropy bonuses of parts then add up to that of the whole. For the balance of a mixture of experts, which is no mean over
    tokens, see `memagent_training.rows.balance`.
    """
    whole = trainer.entropy_coef
    trainer.entropy_coef = whole * share
    try:
        yield
    finally:
        trainer.entropy_coef = whole
        if told := trainer._metrics["train"]["entropy_coef"]:
            told[-1] = whole


def trim(batch: Batch) -> Batch:
    """Take off the columns of padding that all rows share, and the vision keys when no row has a picture."""
    left = int(batch["prompt_mask"].any(0).int().argmax())
    kept = int(batch["completion_mask"].any(0).sum()) or 1
    prompt, completion = batch["prompt_ids"].shape[1], batch["completion_ids"].shape[1]
    trimmed = {}
    for key, value in batch.items():
        if not isinstance(value, torch.Tensor) or value.ndim != 2 or key in VISION:
            trimmed[key] = value
        elif key == "mm_token_type_ids":
            trimmed[key] = value[:, left : prompt + kept]
        elif value.shape[1] == 1 and completion != 1 and key == "importance_sampling_ratio":
            trimmed[key] = value
        else:
            trimmed[key] = value[:, left:] if key in ("prompt_ids", "prompt_mask") else value[:, :kept]
    if "num_images" in trimmed and not any(trimmed["num_images"]):
        trimmed = {key: value for key, value in trimmed.items() if key not in (*VISION, "mm_token_type_ids")}
    return trimmed
