"""Numbers of cells: how right one answer is, and cells of users, periods and questions pooled into curves with intervals.

A score compares tuples of n values of which m agree: accuracy is 1 when all do, hamming m / n, jaccard m / (2n - m).

Users may have unequal numbers of periods and questions, and cells may be missing: a point of a curve is the mean of all
cells that its period has, over users and questions together; the mean of a curve weighs its periods equally. Users are the
independent units, so an interval comes from drawing whole users again, 1,000 times with a fixed seed, and computing the
same number from each draw; one user has no interval.

Accuracy by age (arXiv 2603.01966, section 4): the age of a value is the number of periods since it was last set; one that never
changed is as old as the user's first period. A question needs several values: it counts once by its newest and once by its
oldest one, and once by the changes of all its values so far.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memagent.environments.amemgym.data import UserItem, UserQuestion
from memagent.errors import InputError
from memagent.evaluation.report import Report, Row

Cells = Sequence[Sequence[Sequence[float | None]]]
"""[users][periods][questions], ragged; None where nothing was measured."""
Accuracies = list[list[list[float | None]]]
"""[users][periods][questions]."""
Array = NDArray[np.float64]
Metric = Literal["accuracy", "hamming", "jaccard"]
METRICS: tuple[Metric, ...] = ("accuracy", "hamming", "jaccard")
AGE_METRICS = ("accuracy_by_newest_age", "accuracy_by_oldest_age", "accuracy_by_changes")
Values = Sequence[str | None]

DRAWS = 1_000
MEAN = "mean"
"""The place, in a report, of the mean over periods."""


def similarity(golden: Values, chosen: Values, metric: Metric = "accuracy") -> float:
    """How near two tuples of values are. Raises `InputError` for unequal lengths."""
    if len(golden) != len(chosen):
        raise InputError(f"{list(golden)} and {list(chosen)} have unequal numbers of values; they are of different questions")
    same, size = sum(a == b for a, b in zip(golden, chosen, strict=True)), len(golden)
    if metric == "accuracy" or not size:
        return float(same == size)
    return same / size if metric == "hamming" else same / (2 * size - same)


def expected_score(question: UserQuestion, golden: Values, metric: Metric = "accuracy") -> float:
    """What a uniformly random option scores: 1 / n by accuracy when one option suits."""
    scores = [similarity(golden, choice.state, metric) for choice in question.answer_choices]
    return sum(scores) / len(scores)


@dataclass(frozen=True)
class Pool:
    """Sums and numbers of cells."""

    sums: Array
    """[users, periods]."""
    counts: Array
    """[users, periods]."""

    @classmethod
    def of(cls, cells: Cells) -> Pool:
        shape = len(cells), max(map(len, cells), default=0)
        sums, counts = np.zeros(shape), np.zeros(shape)
        for u, user in enumerate(cells):
            for p, period in enumerate(user):
                known = [value for value in period if value is not None]
                sums[u, p], counts[u, p] = sum(known), len(known)
        return cls(sums, counts)

    def curve(self, drawn: NDArray[np.int64] | None = None) -> Array:
        """[periods], or [draws, periods] for users drawn; nan where a period has no cell."""
        if drawn is None:
            return ratio(self.sums.sum(axis=0), self.counts.sum(axis=0))
        return ratio(self.sums[drawn].sum(axis=1), self.counts[drawn].sum(axis=1))

    def by_user(self) -> Array:
        """[users, periods]; nan where a user has no cell."""
        return ratio(self.sums, self.counts)


def ratio(above: Array, below: Array) -> Array:
    """Quotients, nan where the divisor is not positive."""
    quotients = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=quotients, where=below > 0)
    return quotients


def mean_of_known(values: Array, axis: int = -1) -> Array:
    """Means without nan; nan where there is nothing else."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis).astype(np.float64))


def draw_users(users: int, *, seed: int = 0) -> NDArray[np.int64]:
    """[draws, users]: users drawn with replacement."""
    return np.random.default_rng(seed).integers(0, users, (DRAWS, users))


def curve_rows(method: str, metric: str, curve: Array, drawn: Array, *, users: Sequence[int]) -> list[Row]:
    """A row for each period of a curve and one for its mean.

    `drawn` is [draws, periods], `users` the number of users in each period and, last, in all.
    """
    values = [*curve.tolist(), float(mean_of_known(curve))]
    spreads = [*drawn.T, mean_of_known(drawn)]
    places = [*range(len(curve)), MEAN]
    points = zip(places, values, spreads, users, strict=True)
    return [point_row(method, metric, at, value, spread, users=n) for at, value, spread, n in points if not np.isnan(value)]


def point_row(method: str, metric: str, at: int | str, value: float, drawn: Array, *, users: int) -> Row:
    """The row of one number and its draws; without an interval where it is of one user."""
    known = drawn[~np.isnan(drawn)]
    if users < 2 or not len(known):
        return Row(method=method, metric=metric, at=at, value=value, n=users)
    low, high = np.percentile(known, [2.5, 97.5])
    return Row(method=method, metric=metric, at=at, value=value, low=float(low), high=float(high), n=users)


def users_present(present: NDArray[np.bool_]) -> list[int]:
    """Users in each period and, last, in all, from [users, periods]."""
    return [*present.sum(axis=0).tolist(), int(present.any(axis=1).sum())]


def pooled_rows(method: str, metric: str, cells: Cells, *, seed: int = 0) -> list[Row]:
    """The curve of a metric and its mean as rows, with 95 % intervals over users, from [users][periods][questions]."""
    pool = Pool.of(cells)
    drawn = pool.curve(draw_users(len(cells), seed=seed))
    return curve_rows(method, metric, pool.curve(), drawn, users=users_present(pool.counts > 0))


def ages_and_changes(item: UserItem, period: int, question: UserQuestion) -> tuple[int, int, int]:
    """Age of a question's newest and of its oldest value after a period, and the number of changes of all of them so far."""
    ages = [period - item.written_at(name, period) for name in question.required_info]
    later = item.periods[1 : period + 1]
    return min(ages), max(ages), sum(name in one.updates for one in later for name in question.required_info)


def accuracy_by_age(method: str, items: Sequence[UserItem], accuracy: Cells, *, seed: int = 0) -> list[Row]:
    """A row for each age and number of changes that occurs: `at` is that number, `n` the users that have it.

    `accuracy` is [users][periods][questions] in the order of `items`; cells without an answer are left out.
    """
    found: dict[tuple[int, int], list[list[float | None]]] = {}
    for u, (item, periods) in enumerate(zip(items, accuracy, strict=True)):
        for p, row in enumerate(periods):
            for question, score in zip(item.qas, row, strict=True):
                for place in enumerate(ages_and_changes(item, p, question)):
                    found.setdefault(place, [[] for _ in items])[u].append(score)
    rows: list[Row] = []
    for (k, at), users in sorted(found.items()):
        pooled = pooled_rows(method, AGE_METRICS[k], [[cells] for cells in users], seed=seed)
        rows += [row.model_copy(update={"at": at}) for row in pooled if row.at == 0]
    return rows


Supports = Callable[[str, str, str], bool]
"""Judges one claim: text of the memory, name of the variable, value."""


def names_value(memory: str, variable: str, value: str) -> bool:
    """Whether the words of `value` follow each other in `memory`; underscores of both count as blanks.

    The judge without a model. `variable` is not looked for: texts seldom name it.
    """
    words = re.findall(r"[^\W_]+", value.casefold())
    text = re.findall(r"[^\W_]+", memory.casefold())
    return bool(words) and any(text[at : at + len(words)] == words for at in range(len(text) - len(words) + 1))


def factual_recall(memory: str, given_away: Mapping[str, str], *, supports: Supports = names_value) -> float | None:
    """Memory factual recall (arXiv 2603.01966): the share, 0 to 1, of given-away values (by variable) that a memory supports.

    None when nothing was given away.
    """
    if not given_away:
        return None
    return sum(supports(memory, name, value) for name, value in given_away.items()) / len(given_away)


class PeriodReport(Report):
    """Rows over periods; those of `AGE_METRICS` are over ages, in periods, and numbers of changes."""

    def x_label(self, metric: str) -> str:
        return {**dict.fromkeys(AGE_METRICS[:2], "age in periods"), AGE_METRICS[2]: "changes so far"}.get(metric, "period")
