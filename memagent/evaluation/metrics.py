"""Numbers with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean with its 95 % interval; no interval for a single value."""

    value: float
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float], *, seed: int = 0, draws: int = 2_000) -> Estimate:
    """Mean and percentile bootstrap interval over independent values. Raises `ValueError` for none."""
    if not values:
        raise ValueError("no values to average")
    data = np.asarray(values, np.float64)
    if len(data) == 1:
        return Estimate(float(data[0]), None, None, 1)
    rows = np.random.default_rng(seed).integers(0, len(data), (draws, len(data)))
    low, high = np.percentile(data[rows].mean(axis=1), [2.5, 97.5])
    return Estimate(float(data.mean()), float(low), float(high), len(data))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0-100) percent lie."""
    return float(np.percentile(np.asarray(values, np.float64), share))
