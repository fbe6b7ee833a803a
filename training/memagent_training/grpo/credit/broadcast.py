"""From one number for a rollout to one for a token: the last step of every credit, and the weighing of ragged groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memagent.errors import InputError
from memagent_training.grpo.credit.base import TokenAdvantages
from memagent_training.grpo.rollout import Group, Segment
from memagent_training.grpo.validate import Floats


def broadcast(segment: Segment, value: float | Floats) -> Floats:
    """(T,) `value` at the trained tokens of `segment`, 0 at all others. `value` is one number, or (T,) one a token."""
    tokens = np.empty(len(segment.ids), np.float64)
    tokens[:] = value
    if segment.mask is not None:
        tokens[np.asarray(segment.mask) == 0] = 0.0
    return tokens


def copied(groups: Sequence[Group], advantages: Sequence[Floats]) -> TokenAdvantages:
    """Every trained token of every segment gets its rollout's advantage; `advantages` has one (k_i,) array a group."""
    return [
        [
            [broadcast(segment, float(value)) for segment in rollout.segments]
            for rollout, value in zip(group, values, strict=True)
        ]
        for group, values in zip(groups, advantages, strict=True)
    ]


def weigh_by_prompt(advantages: TokenAdvantages, groups: Sequence[Group]) -> TokenAdvantages:
    """Advantages x mean(k)/k_i, so that each prompt counts by the mean over its own k_i rollouts (V0.5, `weighting="prompt"`).

    The mean is taken over groups that have rollouts; with equal groups the factor is exactly 1. Source: V0.5,
    arXiv 2603.10848. Raises `InputError` when the two do not have the same groups.
    """
    sizes = [len(group) for group in groups]
    if sizes != [len(group) for group in advantages]:
        raise InputError(f"advantages for groups of {[len(one) for one in advantages]} rollouts, groups have {sizes}")
    filled = [size for size in sizes if size]
    mean = sum(filled) / len(filled) if filled else 0.0
    return [[[segment * (mean / len(group)) for segment in rollout] for rollout in group] for group in advantages]
