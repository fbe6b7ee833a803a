"""What comes in from outside: rewards and priors become float64, and what cannot be a reward or a setting is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memagent.errors import InputError, MemAgentError

Floats = NDArray[np.float64]
SLACK = 1e-9
"""Rounding that a reward or a prior may stand outside its range by, as a share of the range."""


def rewards_of(group: ArrayLike) -> Floats:
    """(k,) float64 from the k >= 0 rewards of a group. Raises `InputError` for another shape, NaN and infinity."""
    try:
        rewards = np.array(group, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"rewards must be numbers, got {group!r}") from error
    if rewards.ndim != 1:
        raise InputError(f"rewards of a group must be one row of numbers, got the shape {rewards.shape}")
    if not np.isfinite(rewards).all():
        raise InputError(f"rewards must be finite, got {rewards.tolist()}; leave failed rollouts out of the group")
    return rewards


def ranged_rewards(group: ArrayLike, *, low: float, high: float) -> Floats:
    """As `rewards_of`, and within [`low`, `high`]. Raises `InputError`."""
    rewards = rewards_of(group)
    slack = SLACK * half_range(low=low, high=high)
    if rewards.size and (rewards.min() < low - slack or rewards.max() > high + slack):
        raise InputError(
            f"rewards lie in [{rewards.min():g}, {rewards.max():g}], allowed is [{low:g}, {high:g}]; "
            "set `low` and `high` to the range of the rewards"
        )
    return rewards


def ranged_prior(prior: float | None, *, low: float, high: float) -> float:
    """The prior as a float within [`low`, `high`]. Raises `InputError` for None, NaN and what lies outside."""
    slack = SLACK * half_range(low=low, high=high)
    value = math.nan if prior is None else float(prior)
    if not low - slack <= value <= high + slack:
        raise InputError(
            f"the prior is {prior!r}, allowed is a number in [{low:g}, {high:g}]: an expected reward, not a probability; "
            "set `low` and `high` to the range of the rewards"
        )
    return value


def half_range(*, low: float, high: float) -> float:
    """Half the width of the rewards' range. Raises `InputError` unless both ends are finite and `low` < `high`."""
    check_range(low, high)
    return (high - low) / 2


def check_range(low: float, high: float, *, error: type[MemAgentError] = InputError) -> None:
    """Raises `error` unless both ends of a range of rewards are finite and `low` < `high`."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise error(f"rewards range from `low` = {low} to `high` = {high}; `low` must be below `high` and both finite")


def check_choice(name: str, value: str, literal: Any, *, error: type[MemAgentError] = InputError) -> None:
    """Raises `error` unless the value of the setting `name` is one of a `Literal`."""
    if value not in get_args(literal):
        raise error(f"`{name}` is {value!r}; choose one of: {', '.join(get_args(literal))}")


def batch_deviation(groups: Sequence[Floats]) -> float:
    """Standard deviation (n - 1) of all rewards of a batch; 0 when it has fewer than two, or when all are equal."""
    return deviation(np.concatenate(groups)) if groups else 0.0


def deviation(rewards: Floats) -> float:
    """Standard deviation (n - 1) of rewards; exactly 0 when there are fewer than two, or when all are equal."""
    return float(rewards.std(ddof=1)) if rewards.size > 1 and np.ptp(rewards) > 0 else 0.0
