"""The memory score S = (a - R) / (UB - R), with a the accuracy, R that of chance and UB the upper bound.

Two rules that do not agree. `period`: a, R and UB are means over users and questions, S is one number a period; the published
numbers follow it. `user_period`: means over questions only, S is one number a user and period, as in the released figure
script. Both then average S; neither clips it. Where UB - R is not positive there is no S: such places are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from memagent.environments.amemgym.baselines import first_option, initial_state, policy_scores, random_baseline
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.scoring.metrics import (
    DRAWS,
    MEAN,
    Accuracies,
    Array,
    Cells,
    PeriodReport,
    Pool,
    curve_rows,
    draw_users,
    mean_of_known,
    point_row,
    pooled_rows,
    ratio,
    users_present,
)
from memagent.errors import InputError
from memagent.evaluation.report import Report, Row

Rule = Literal["period", "user_period"]
RULES: tuple[Rule, ...] = get_args(Rule)
METRIC_OF_RULE: dict[Rule, str] = {"period": "memory_score", "user_period": "memory_score_user_period"}
"""The name of each rule's number in reports."""


@dataclass(frozen=True)
class MemoryScore:
    """A memory score by one rule."""

    rule: Rule
    curve: Array
    """[periods]; nan where it is not defined."""
    mean: float
    """Over periods, or over users and periods; nan when nothing is defined."""
    undefined: int
    """Periods, or users' periods, left out because the upper bound does not exceed chance or was not measured."""
    drawn_curve: Array
    """[draws, periods]."""
    drawn_mean: Array
    """[draws]."""
    users: list[int]
    """In each period and, last, in all."""

    def rows(self, method: str) -> list[Row]:
        metric = METRIC_OF_RULE[self.rule]
        rows = [row for row in curve_rows(method, metric, self.curve, self.drawn_curve, users=self.users) if row.at != MEAN]
        if not np.isnan(self.mean):
            rows.append(point_row(method, metric, MEAN, self.mean, self.drawn_mean, users=self.users[-1]))
        return rows


def memory_curve(accuracy: Array, chance: Array, upper: Array) -> Array:
    """(a - R) / (UB - R), place by place; nan where the divisor is not positive."""
    return ratio(accuracy - chance, np.nan_to_num(upper - chance))


def memory_score(accuracy: Cells, chance: Cells, upper: Cells, *, rule: Rule = "period", seed: int = 0) -> MemoryScore:
    """The memory score of results, by a rule, with its draws over users."""
    if rule not in RULES:
        raise InputError(f"there is no rule {rule!r}; there are {', '.join(RULES)}")
    pools, drawn = [Pool.of(cells) for cells in _shared(accuracy, chance, upper)], draw_users(len(accuracy), seed=seed)
    present = pools[0].counts > 0
    if rule == "period":
        curve, spread = (memory_curve(*(pool.curve(which) for pool in pools)) for which in (None, drawn))
        mean, undefined = float(mean_of_known(curve)), int(np.isnan(curve).sum())
        return MemoryScore("period", curve, mean, undefined, spread, mean_of_known(spread), users_present(present))
    table = memory_curve(*(pool.by_user() for pool in pools))
    spread, undefined = mean_of_known(table[drawn], axis=1), int((np.isnan(table) & present).sum())
    means = mean_of_known(table[drawn].reshape(len(drawn), -1))
    curve, mean = mean_of_known(table, axis=0), float(mean_of_known(table.reshape(-1)))
    return MemoryScore("user_period", curve, mean, undefined, spread, means, users_present(~np.isnan(table)))


def _shared(*tables: Cells) -> list[Accuracies]:
    """The tables without the cells that one of them lacks, so that all average over the same."""
    sizes = [[[len(row) for row in user] for user in table] for table in tables]
    if sizes.count(sizes[0]) != len(sizes):
        raise InputError("accuracy, random baseline and upper bound are not of the same users, periods and questions")
    masked: list[Accuracies] = [[] for _ in tables]
    for users in zip(*tables, strict=True):
        rows = [list(zip(*row, strict=True)) for row in zip(*users, strict=True)]
        for k, table in enumerate(masked):
            table.append([[None if None in cell else cell[k] for cell in row] for row in rows])
    return masked


def bounds_report(
    items: Sequence[UserItem],
    *,
    upper: Cells | None = None,
    results: Mapping[str, Cells] | None = None,
    seed: int = 0,
    meta: Mapping[str, object] | None = None,
) -> Report:
    """Accuracy of chance and of the reference policies; with an upper bound also memory scores, of `results` too."""
    chance = random_baseline(items)
    methods: dict[str, Cells] = {
        "constant_1": policy_scores(items, first_option),
        "stale": policy_scores(items, initial_state),
        **(results or {}),
    }
    shown: dict[str, Cells] = {"random": chance, **({} if upper is None else {"upper_bound": upper}), **methods}
    rows = [row for method, cells in shown.items() for row in pooled_rows(method, "accuracy", cells, seed=seed)]
    facts: dict[str, object] = {"users": len(items), "seed": seed, "draws": DRAWS}
    if upper is not None:
        scores = {
            (method, rule): memory_score(cells, chance, upper, rule=rule, seed=seed)
            for method, cells in methods.items()
            for rule in RULES
        }
        rows += [row for (method, _), score in scores.items() for row in score.rows(method)]
        facts["rules"] = {METRIC_OF_RULE[rule]: rule for rule in RULES}
        facts["undefined"] = {f"{method}/{METRIC_OF_RULE[rule]}": score.undefined for (method, rule), score in scores.items()}
        facts["upper_bound_unasked"] = sum(cell is None for user in upper for row in user for cell in row)
    return PeriodReport(name="amemgym-bounds", rows=rows, meta={**facts, **(meta or {})})
