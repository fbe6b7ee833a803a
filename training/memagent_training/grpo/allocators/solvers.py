"""How units are shared out among rows when each row says what its units are worth: a heap and a dynamic program.

A row is a prompt that already holds its least number of rollouts. Column b of a value table is the row's value with b
further units, column b of a gain table what unit b + 1 adds. Both solvers give out exactly `units`, or all that fit.
The heap takes the largest next gain, O(units log rows): the optimum when gains never rise along a row, a heuristic
otherwise. The dynamic program is the optimum for any table, O(rows x units x columns). Equal offers go to the lowest row.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.validate import Floats

Many = Sequence[float] | Floats
Rates = Sequence[float | None] | Floats
"""(M,) success rates in [0, 1]; None = not known."""

UNKNOWN_RATE = 0.5


def greedy_allocate(gains: Floats, units: int) -> list[int]:
    """Give one unit after the other to the row that gains most by it; `gains` is (M, W). Returns M counts in 0..W."""
    rows: list[list[float]] = gains.tolist()
    counts = [0] * len(rows)
    heap = [(-row[0], position) for position, row in enumerate(rows) if row]
    heapq.heapify(heap)
    for _ in range(units):
        if not heap:
            break
        position = heap[0][1]
        counts[position] += 1
        if counts[position] < len(rows[position]):
            heapq.heapreplace(heap, (-rows[position][counts[position]], position))
        else:
            heapq.heappop(heap)
    return counts


def dp_allocate(values: Floats, units: int) -> list[int]:
    """The counts of largest summed value; `values` is (M, W + 1). Returns M counts in 0..W.

    The table `best[u]` holds the best value of the rows so far with exactly u units; memory is M x units of int32.
    """
    count, columns = values.shape
    units = min(units, count * (columns - 1))
    best = np.full(units + 1, -np.inf)  # (units + 1,)
    best[0] = 0.0
    taken = np.zeros((count, units + 1), np.int32)
    for row, worth in enumerate(values):
        grown = best + worth[0]
        for more in range(1, min(columns - 1, units) + 1):
            offer = best[:-more] + worth[more]
            better = offer > grown[more:]  # strictly: a later row takes no unit that an earlier one uses as well
            grown[more:][better] = offer[better]
            taken[row, more:][better] = more
        best = grown
    counts = [0] * count
    for row in reversed(range(count)):
        counts[row] = int(taken[row, units])
        units -= counts[row]
    return counts


def even_split(total: int, count: int, *, high: int | None = None) -> list[int]:
    """`total` in `count` equal parts, the first ones take the remainder, none above `high`: 17 in 5 is 4, 4, 3, 3, 3."""
    if count == 0:
        return []
    if high is not None:
        total = min(total, count * high)
    share, rest = divmod(total, count)
    return [share + (position < rest) for position in range(count)]


def checked_problem(total: int, *, low: int, high: int) -> tuple[int, int, int]:
    """The three as plain integers. Raises `InputError` unless they are whole, 0 <= `total` and 0 <= `low` <= `high`."""
    for name, value in (("total", total), ("low", low), ("high", high)):
        if not isinstance(value, int | np.integer) or value < 0:
            raise InputError(f"`{name}` is {value!r}; it counts rollouts, give a whole number of 0 or more")
    if low > high:
        raise InputError(f"`low` is {low} and `high` {high}; a prompt's least number of rollouts cannot exceed its most")
    return int(total), int(low), int(high)


def check_bounds(name: str, *, low: int, high: int, group_size: int) -> None:
    """Raises `ConfigError` unless prompts can get `group_size` rollouts on average, and each from `low` to `high`."""
    if not low <= group_size <= high:
        raise ConfigError(
            f'allocator "{name}" gives each prompt {low} to {high} rollouts, and a batch has {group_size} for each on average '
            f"(rollouts.group_size); set allocator.low to at most and allocator.high to at least {group_size}"
        )


def filled_rates(rates: Rates) -> tuple[Floats, int]:
    """(M,) float64 with 0.5 for each None, and how many were known. Raises `InputError` outside [0, 1] and for NaN."""
    known = sum(rate is not None for rate in rates)
    filled = np.array([UNKNOWN_RATE if rate is None else rate for rate in rates], np.float64)
    check_unit(filled, name="pass rate")
    return filled, known


def check_unit(values: float | Floats, *, name: str) -> None:
    """Raise `InputError` when a value is NaN or outside [0, 1]."""
    flat = np.ravel(values)
    wrong = flat[~((flat >= 0.0) & (flat <= 1.0))]
    if wrong.size:
        raise InputError(f"a {name} is {wrong[0]}; it is a share, give values from 0 to 1 and None for an unknown one")
