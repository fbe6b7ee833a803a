"""Accuracy by the age of what a question needs, and by how often it has changed (specification, section 4.5).

The age of a value is the number of periods since it was last set; one that never changed is as old as the user's first
period. A question needs several values: it counts once by its newest and once by its oldest one, and once by the changes of
all its values so far.
"""

from __future__ import annotations

from collections.abc import Sequence

from memagent.environments.amemgym.data import Item, Question
from memagent.environments.amemgym.scoring.metrics import Cells, pooled_rows
from memagent.evaluation.report import Row

METRICS = ("accuracy_by_newest_age", "accuracy_by_oldest_age", "accuracy_by_changes")


def ages_and_changes(item: Item, period: int, question: Question) -> tuple[int, int, int]:
    """Age of a question's newest and of its oldest value after a period, and the number of changes of all of them so far."""
    ages = [period - item.written_at(name, period) for name in question.required_info]
    later = item.periods[1 : period + 1]
    return min(ages), max(ages), sum(name in one.updates for one in later for name in question.required_info)


def age_rows(method: str, items: Sequence[Item], accuracy: Cells, *, seed: int = 0) -> list[Row]:
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
        pooled = pooled_rows(method, METRICS[k], [[cells] for cells in users], seed=seed)
        rows += [row.model_copy(update={"at": at}) for row in pooled if row.at == 0]
    return rows
