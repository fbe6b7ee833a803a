"""z-scores: terms of different size made comparable, so that they can be added with weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def moments(values: Floats) -> tuple[float, float]:
    """Mean and deviation, NaN left out; deviation 0 where there is nothing to distinguish."""
    mean = values.mean() if len(values) else np.nan
    if np.isnan(mean):
        values = values[~np.isnan(values)]
        mean = values.mean() if len(values) else np.float32(0)
    return float(mean), float(np.sqrt(np.square(values - mean).mean())) if len(values) > 1 else 0.0


def scaled(values: Floats, by: tuple[float, float]) -> Floats:
    """Values as deviations from a mean, by `moments`; NaN stays, zeros where the deviation is none."""
    mean, deviation = by
    if deviation < 1e-6:  # float32 tells no less apart
        return np.zeros(len(values), np.float32)
    return (values - mean) / deviation
