"""Numbers of models: accuracy, memory scores, failures, and what the answers cost, for each assistant and period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memagent.environments.amemgym.data import Item
from memagent.environments.amemgym.evaluate.bound import Bound
from memagent.environments.amemgym.evaluate.pair import Outcome
from memagent.environments.amemgym.evaluate.records import Record
from memagent.environments.amemgym.official_format import Probe
from memagent.environments.amemgym.scoring.ages import age_rows
from memagent.environments.amemgym.scoring.bounds import (
    METRIC_OF_RULE,
    RULES,
    initial_state,
    memory_score,
    policy_scores,
    random_baseline,
)
from memagent.environments.amemgym.scoring.diagnosis import RATES, diagnose_all, failure_rates
from memagent.environments.amemgym.scoring.metrics import DRAWS, Cells, pooled_rows
from memagent.evaluation.report import Report, Row
from memagent.types import Usage

NAME = "amemgym-model"
"""Of the reports: scores of models stand apart from those of the answer probe."""
COSTS = ("input_tokens", "output_tokens", "time_elapsed")
_LISTED = 20
"""Failures that a report lists."""


@dataclass(frozen=True)
class Measured:
    """What a run found."""

    outcomes: Mapping[str, Sequence[Outcome]]
    """By method, in the order of the users."""
    bound: Bound | None = None


def model_report(items: Sequence[Item], measured: Measured, *, seed: int, facts: Mapping[str, Any]) -> Report:
    """A row for each method, metric and period, and for the means. `random` and `initial_state` ask no model."""
    rows = pooled_rows("random", "accuracy", random_baseline(items), seed=seed)
    rows += pooled_rows("stale", "accuracy", policy_scores(items, initial_state), seed=seed)
    if measured.bound is not None:
        rows += pooled_rows("upper_bound", "accuracy", measured.bound.accuracy, seed=seed)
    undefined: dict[str, int] = {}
    for method, lives in measured.outcomes.items():
        accuracy = _cells(lives, lambda record: record["scores"]["accuracy"])
        rows += pooled_rows(method, "accuracy", accuracy, seed=seed)
        rows += _memory_rows(method, items, measured.bound, accuracy, seed, undefined)
        rows += _failure_rows(method, items, lives, accuracy, seed)
        rows += age_rows(method, items, accuracy, seed=seed)
        rows += pooled_rows(method, "json_error", _cells(lives, lambda record: float(record["json_error"])), seed=seed)
        for name in COSTS:
            rows += pooled_rows(method, f"question_{name}", _cells(lives, _spent(name)), seed=seed)
    own = {
        "invalid_answers": "score 1 / n, as a random option would; so do calls that failed",
        "rules": {METRIC_OF_RULE[rule]: rule for rule in RULES},
        "users": len(items),
        "draws": DRAWS,
        "undefined": undefined,
        "follow_ups": _counted(measured, lambda one: one.follow_ups),
        "writing": _counted(measured, lambda one: one.writing),
        "usage": _usage(measured),
        "failures": _failures(measured),
    }
    return Report(name=NAME, rows=rows, meta={**own, **facts})


def _cells(lives: Sequence[Outcome], value: Callable[[Record], float]) -> list[list[list[float | None]]]:
    return [[[value(record) for record in row] for row in one.overall] for one in lives]


def _spent(name: str) -> Callable[[Record], float]:
    return lambda record: float(record["llm_usage_statistics"][name])


def _memory_rows(
    method: str, items: Sequence[Item], bound: Bound | None, accuracy: Cells, seed: int, undefined: dict[str, int]
) -> list[Row]:
    rows: list[Row] = []
    for rule in RULES if bound is not None else ():
        assert bound is not None
        score = memory_score(accuracy, random_baseline(items), bound.accuracy, rule=rule, seed=seed)
        rows += score.rows(method)
        undefined[f"{method}/{METRIC_OF_RULE[rule]}"] = score.undefined
    return rows


def _failure_rows(method: str, items: Sequence[Item], lives: Sequence[Outcome], accuracy: Cells, seed: int) -> list[Row]:
    probes: dict[str, list[list[Probe | None]]] = {
        item.id: [[Probe.model_validate(record) for record in row] for row in one.diagnosis]
        for item, one in zip(items, lives, strict=True)
    }
    rates = failure_rates(diagnose_all(probes), dict(zip(probes, accuracy, strict=True)))
    return [row for name in RATES for row in pooled_rows(method, name, getattr(rates, name), seed=seed)]


def _counted(measured: Measured, counts: Callable[[Outcome], Counter[str]]) -> dict[str, dict[str, int]]:
    """Counts of all users by method, without the methods that have none."""
    found = {method: sum(map(counts, lives), Counter[str]()) for method, lives in measured.outcomes.items()}
    return {method: dict(sorted(one.items())) for method, one in found.items() if one}


def _usage(measured: Measured) -> dict[str, Any]:
    parts = ("talk", "memory", "questions", "probes", "user")
    found: dict[str, Any] = {
        method: {part: sum((getattr(one, part) for one in lives), Usage()).model_dump() for part in parts}
        for method, lives in measured.outcomes.items()
    }
    return found if measured.bound is None else {**found, "upper_bound": measured.bound.usage.model_dump()}


def _failures(measured: Measured) -> dict[str, Any]:
    found = {method: [failure for one in lives for failure in one.failures] for method, lives in measured.outcomes.items()}
    if measured.bound is not None:
        found["upper_bound"] = measured.bound.failures
    return {method: {"count": len(failures), "first": failures[:_LISTED]} for method, failures in found.items()}
