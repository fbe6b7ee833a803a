"""Allocation the slow way: all ways to share out, and what CoBA-RL's released code does, read line by line."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from memagent_training.grpo import coba_value
from memagent_training.grpo.validate import Floats


def worth(values: Floats, counts: Sequence[int]) -> float:
    """The summed value of column `counts[row]` of each row."""
    return float(sum(values[row, more] for row, more in enumerate(counts)))


def brute_force(values: Floats, units: int) -> float:
    """The best summed value over all ways to give exactly `units`, one column index a row."""
    ways = (way for way in itertools.product(range(values.shape[1]), repeat=len(values)) if sum(way) == units)
    return max(worth(values, way) for way in ways)


def spelled_out(pass_rates: Sequence[float | None], total: int, *, low: int, high: int, alpha: float, beta: float) -> list[int]:
    """CoBA-RL (arXiv 2602.03048) as its released code at aa6b834 does it, with linear searches."""
    count = len(pass_rates)
    known = [0.5 if one is None else one for one in pass_rates]
    budgets, left = [low] * count, total - count * low
    hard = [i for i in range(count) if known[i] < 0.05]
    easy = [i for i in range(count) if known[i] > 0.99]
    mid = [i for i in range(count) if i not in hard and i not in easy]
    share = 0.6 if not mid else 0.8 if len(mid) > count / 2 else 0.6 + 0.2 * (2 * len(mid) / count)
    pot = int(left * share)
    if mid and pot > 0:
        clipped = [min(max(known[i], 0.01), 0.99) for i in mid]
        mean = sum(clipped) / len(mid)
        variance = sum((one - mean) ** 2 for one in clipped) / len(mid)
        shape = {"tau": 3 + 9 * min(max(variance / 0.1667, 0), 1), "alpha": alpha, "beta": beta}
        for _ in range(pot):
            free = [i for i in mid if budgets[i] < high]
            if not free:
                break
            gain = {i: coba_value(budgets[i] + 1, known[i], **shape) - coba_value(budgets[i], known[i], **shape) for i in free}
            best = max(free, key=lambda i: (gain[i], -i))
            budgets[best] += 1
            left -= 1
    while left and min(budgets) < high:  # a second time only where the released code drops units
        for group in (hard, mid, easy):
            free = [i for i in group if budgets[i] < high]
            weight = {i: 1 - min(max(known[i], 1e-6), 1 - 1e-6) for i in free}
            for i in free:
                part = min(int(left * weight[i] / sum(weight.values())), high - budgets[i])
                budgets[i] += part
                left -= part
            free = [i for i in free if budgets[i] < high]
            share_, rest = divmod(left, len(free)) if free else (0, 0)
            for order, i in enumerate(free):
                part = min(share_ + (order < rest), high - budgets[i])
                budgets[i] += part
                left -= part
    return budgets
