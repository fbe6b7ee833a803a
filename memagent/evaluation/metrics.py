"""Numbers with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def by_cluster(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Mean of the values of each cluster, such as the paddings of one question, in the order in which clusters come first.

    An interval over these means is a bootstrap by cluster: values of one cluster are never taken for independent.
    """
    clusters: dict[str, list[float]] = {}
    for name, value in values:
        clusters.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in clusters.items()}


def paired_interval(first: Mapping[str, float], second: Mapping[str, float], *, seed: int = 0, draws: int = 2_000) -> Estimate:
    """Mean of `first - second` over what both were measured on, with its bootstrap interval: pairs are drawn, not values.

    Raises `ValueError` when they were not measured on the same, or on nothing.
    """
    if first.keys() != second.keys():
        raise ValueError(
            f"a paired difference needs the same items on both sides; these {len(first.keys() ^ second.keys())} differ"
        )
    return mean_interval([first[name] - second[name] for name in first], seed=seed, draws=draws)
