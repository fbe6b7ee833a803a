"""A few log-probabilities kept beside saved weights, so that who exports them can tell that they are the ones trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from memagent.errors import ConfigError
from memagent_renderers.files import write_atomic
from memagent_training.grpo.rollout import Rollout

NAME = "probe.json"
MOST = 64
"""Tokens that are kept."""


class StoredProbe(NamedTuple):
    """The beginning of a conversation that was trained on, and what the policy made of it when it was saved."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of each id but the first, after those before it."""


def token_logprobs(model: Any, ids: Sequence[int]) -> tuple[float, ...]:
    """Log-probability of each id but the first. Of a sharded model all processes must ask."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0, :-1]  # (N - 1, V)
    finally:
        model.train(was_training)
    wanted = torch.tensor(list(ids[1:]), device=device)
    found: list[float] = torch.log_softmax(logits.float(), dim=-1).gather(1, wanted[:, None])[:, 0].tolist()
    return tuple(found)


def write_probe(trainer: Any, folder: Path) -> None:
    """Keep a probe in `folder`. All processes call it; the first writes. Nothing where no rollout is at hand.

    It is of a conversation in text: one with pictures would need them kept, too.
    """
    ids = _conversation(trainer.rollouts)
    if len(ids) < 2:
        return
    logprobs = token_logprobs(trainer.model_wrapped, ids)
    if trainer.accelerator.is_main_process:
        write_atomic(folder / NAME, json.dumps({"ids": ids, "logprobs": logprobs}) + "\n", mode=0o644)


def read_probe(folder: Path) -> StoredProbe | None:
    """The probe in a folder, if any. Raises `ConfigError` for a damaged one."""
    try:
        found = json.loads((folder / NAME).read_text("utf-8"))
        probe = StoredProbe(tuple(int(one) for one in found["ids"]), tuple(float(one) for one in found["logprobs"]))
        if not 2 <= len(probe.ids) == len(probe.logprobs) + 1 <= MOST or min(probe.ids) < 0:
            raise ValueError(f"{len(probe.ids)} ids and {len(probe.logprobs)} log-probabilities")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"`{folder / NAME}` is damaged: {error!r}; delete it to export without comparing") from error
    return probe


def _conversation(rollouts: Sequence[Rollout]) -> list[int]:
    for one in rollouts:
        for segment in one.segments:
            if not segment.images:
                return [int(id) for id in (*segment.prompt_ids, *segment.ids)[:MOST]]
    return []
