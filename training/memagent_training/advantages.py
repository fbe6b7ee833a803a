"""From scored groups to training rows: the baseline and the credit of the recipe, then the weights of segments and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from memagent_training.batch import TrainingRow
from memagent_training.grpo.baselines.base import Baseline
from memagent_training.grpo.credit.base import Credit
from memagent_training.grpo.credit.broadcast import weigh_by_prompt
from memagent_training.grpo.rollout import Group

Weighting = Literal["rollout", "prompt"]
"""`rollout`: every rollout counts the same. `prompt`: every prompt does, whatever the size of its group (V0.5)."""


def to_rows(
    groups: Sequence[Group], *, credit: Credit, baseline: Baseline, priors: Sequence[float | None], weighting: Weighting
) -> list[TrainingRow]:
    """One row for each segment with a token in the loss, group by group. Segments of weight 0 are left out."""
    spread = credit.assign(groups, baseline=baseline, priors=priors)
    if weighting == "prompt":
        spread = weigh_by_prompt(spread, groups)
    return [
        TrainingRow(segment=segment, advantages=values * segment.weight, rollout_id=rollout.id)
        for group, of_group in zip(groups, spread, strict=True)
        for rollout, of_rollout in zip(group, of_group, strict=True)
        for segment, values in zip(rollout.segments, of_rollout, strict=True)
        if segment.trained and segment.weight
    ]
