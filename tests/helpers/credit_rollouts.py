"""Segments and rollouts of few tokens, for tests of credit."""

from __future__ import annotations

from typing import Any

import numpy as np

from memagent_training.grpo.rollout import Rollout, Segment


def segment(length: int = 2, **fields: Any) -> Segment:
    return Segment(prompt_ids=[1], ids=[1] * length, **fields)


def rollout(
    name: str = "r", *, segments: list[Segment] | None = None, turns: list[float] | None = None, **rewards: float
) -> Rollout:
    return Rollout(
        id=name,
        group_id="g",
        prompt_id="p",
        segments=[segment()] if segments is None else segments,
        rewards=rewards,
        turn_rewards=turns or (),
    )


def values(tokens: list[list[list[np.ndarray]]]) -> list[list[list[list[float]]]]:
    return [[[one.tolist() for one in segments] for segments in group] for group in tokens]
