"""The numbers of a run: accuracy, memory scores, failures and accuracy by age for each method and period.

`accuracy` and the three failure rates add up to 1 in each period. Intervals draw whole users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from memagent.environments.amemgym.answerers import UpperBound, UserResult
from memagent.environments.amemgym.baselines import initial_state, policy_scores, random_baseline
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.error_analysis import MethodResult, compare_to_best, count_reasons
from memagent.environments.amemgym.generate import ValueMatcher
from memagent.environments.amemgym.methods import BASELINES
from memagent.environments.amemgym.scoring.diagnosis import RATES, diagnose_all, failure_rates
from memagent.environments.amemgym.scoring.memory_score import METRIC_OF_RULE, RULES, memory_score
from memagent.environments.amemgym.scoring.metrics import DRAWS, MEAN, PeriodReport, accuracy_by_age, pooled_rows
from memagent.evaluation.report import Report, Row
from memagent.evaluation.runner import LISTED_FAILURES
from memagent.types import Usage

BY_RULE, BY_MODEL = "amemgym", "amemgym-model"
"""Names of reports: scores of models stand apart from those of the rule-based reader."""
COSTS = ("input_tokens", "output_tokens", "time_elapsed")
Results = Mapping[str, Sequence[Mapping[int, UserResult]]]
"""By method, in the order of the users, by budget."""


def rule_report(
    items: Sequence[UserItem], results: Results, bound: UpperBound, *, budget: int, seed: int, facts: Mapping[str, Any]
) -> Report:
    """What the rule-based reader found within one budget, and where MemOCR stands among the others."""
    users = {method: [one[budget] for one in found] for method, found in results.items()}
    rows, undefined = _rows(items, users, bound, seed)
    memories = {method: found for method, found in users.items() if method not in BASELINES}
    compared = {
        method: MethodResult([one.accuracy for one in found], [one.missing for one in found])
        for method, found in memories.items()
    }
    talks = {method: [next(iter(one.values())) for one in found] for method, found in results.items()}
    meta = {
        "budget": budget,
        "memocr": compare_to_best(compared, seed=seed),
        "lost": {method: count_reasons([one for user in found for one in user.missing]) for method, found in memories.items()},
        "undefined": undefined,
        "view_tokens_mean": {
            method: round(fmean(cost for user in found for cost in user.view_tokens), 1)
            for method, found in users.items()
            if any(user.view_tokens for user in found)
        },
        "reading_seconds": {method: round(sum(user.reading_seconds for user in found), 1) for method, found in users.items()},
        "remembering_seconds": {
            method: round(sum(user.remembering_seconds for user in found), 1) for method, found in talks.items()
        },
        "failures": _failures(users),
        "read_by": "the rule-based reader, without a model; not to be compared with scores of models",
        "budget_counts": "text tokens of a view; for memocr, visual tokens of a picture",
        "talk": {
            "first_messages": _exactness(items),
            "follow_ups": dict(sum((one.counts["follow_ups"] for found in talks.values() for one in found), Counter[str]())),
            "tokens_per_user": {
                method: round(fmean(one.talk_tokens for one in found))
                for method, found in talks.items()
                if any(one.talk_tokens for one in found)
            },
        },
        "ocr_agreement": None,
    }
    return PeriodReport(name=BY_RULE, rows=rows, meta={**meta, **_how(items), **facts})


def model_report(
    items: Sequence[UserItem],
    results: Results,
    bound: UpperBound | None,
    *,
    budget: int,
    seed: int,
    facts: Mapping[str, Any],
) -> Report:
    """What a model answered. `random` and `stale` are policies, which ask no model."""
    users = {method: [one[budget] for one in found] for method, found in results.items()}
    rows = pooled_rows("random", "accuracy", random_baseline(items), seed=seed)
    rows += pooled_rows("stale", "accuracy", policy_scores(items, initial_state), seed=seed)
    if bound is not None:
        rows += pooled_rows("upper_bound", "accuracy", bound.accuracy, seed=seed)
    more, undefined = _rows(items, users, bound, seed)
    parts = ("talk", "memory", "questions", "probes", "user")
    usage: dict[str, Any] = {
        method: {part: sum((one.usage[part] for one in found), Usage()).model_dump() for part in parts}
        for method, found in users.items()
    }
    failures = _failures(users)
    if bound is not None:
        usage["upper_bound"] = bound.usage.model_dump()
        failures["upper_bound"] = _listed(bound.failures)
    meta = {
        "invalid_answers": "score 1 / n, as a random option would; so do calls that failed",
        "undefined": undefined,
        "follow_ups": _counted(users, "follow_ups"),
        "writing": _counted(users, "writing"),
        "usage": usage,
        "failures": failures,
    }
    return PeriodReport(name=BY_MODEL, rows=[*rows, *more], meta={**meta, **_how(items), **facts})


def means(report: Report) -> list[tuple[str, ...]]:
    """The means over periods as a table with a head: a line for each method, a column for each metric."""
    metrics = ("accuracy", "memory_score", *RATES)
    found = {(row.method, row.metric): row for row in report.rows if row.at == MEAN}
    head = ("METHOD", *(metric.replace("_", " ").upper() for metric in metrics))
    methods = dict.fromkeys(method for method, _ in found)
    return [head, *((method, *(_cell(found.get((method, metric))) for metric in metrics)) for method in methods)]


def remarks(report: Report) -> list[str]:
    """What a run by rule says beside its tables: what budgets count, how good the simulated reader is, what it took."""
    meta = report.meta
    said = [f"Budgets count {meta['budget_counts']}. Read by {meta['read_by']}."]
    if meta["ocr_agreement"] is not None:
        found = meta["ocr_agreement"]
        pictures = ", ".join(f"{one['pictures']} of {budget} tokens" for budget, one in found["by_budget"].items())
        said.append(
            f"The real OCR read {found['real']:.3f} of the words of {found['pictures']} pictures ({pictures}), the simulated "
            f"one {found['calibrated']:.3f}; {found['apart']:.3f} apart on average."
        )
    return [*said, f"Took {meta['seconds']:.0f} s, {meta['processor_seconds']:.0f} s of processor time."]


# -- parts ------------------------------------------------------------------------------------------------------------


def _rows(
    items: Sequence[UserItem], results: Mapping[str, Sequence[UserResult]], bound: UpperBound | None, seed: int
) -> tuple[list[Row], dict[str, int]]:
    """The rows of all methods, and where memory scores are not defined."""
    chance, rows, undefined = random_baseline(items), list[Row](), dict[str, int]()
    ids = [item.id for item in items]
    for method, users in results.items():
        accuracy = [one.accuracy for one in users]
        rows += pooled_rows(method, "accuracy", accuracy, seed=seed)
        for rule in RULES if bound is not None else ():
            assert bound is not None
            score = memory_score(accuracy, chance, bound.accuracy, rule=rule, seed=seed)
            rows += score.rows(method)
            undefined[f"{method}/{METRIC_OF_RULE[rule]}"] = score.undefined
        probes = {user: one.probes for user, one in zip(ids, users, strict=True)}
        rates = failure_rates(diagnose_all(probes), dict(zip(ids, accuracy, strict=True)))
        for name in RATES:
            rows += pooled_rows(method, name, rates[name], seed=seed)
        rows += accuracy_by_age(method, items, accuracy, seed=seed)
        if any(one.records for one in users):
            failed = [[[float(record["json_error"]) for record in row] for row in one.records] for one in users]
            rows += pooled_rows(method, "json_error", failed, seed=seed)
            for name in COSTS:
                spent = [
                    [[float(record["llm_usage_statistics"][name]) for record in row] for row in one.records] for one in users
                ]
                rows += pooled_rows(method, f"question_{name}", spent, seed=seed)
    return rows, undefined


def _how(items: Sequence[UserItem]) -> dict[str, Any]:
    return {"users": len(items), "draws": DRAWS, "rules": {METRIC_OF_RULE[rule]: rule for rule in RULES}}


def _counted(results: Mapping[str, Sequence[UserResult]], name: str) -> dict[str, dict[str, int]]:
    """Counts of all users by method, without the methods that have none."""
    found = {method: sum((one.counts[name] for one in users), Counter[str]()) for method, users in results.items()}
    return {method: dict(sorted(one.items())) for method, one in found.items() if one}


def _failures(results: Mapping[str, Sequence[UserResult]]) -> dict[str, Any]:
    return {method: _listed([one for user in users for one in user.failures]) for method, users in results.items()}


def _listed(failures: Sequence[str]) -> dict[str, Any]:
    return {"count": len(failures), "first": list(failures[:LISTED_FAILURES])}


def _exactness(items: Sequence[UserItem]) -> dict[str, int]:
    """How many first messages of procedural users give away exactly what they should."""
    counts: Counter[str] = Counter()
    for item in items:
        matcher = ValueMatcher(item.state_schema)
        for session in (one for period in item.periods for one in period.sessions):
            said = {name: {value} for name, value in session.exposed_states.items()}
            exact = matcher.exposed(session.query) == said and matcher.hinted(session.query) == said.keys()
            counts["exact" if exact else "inexact"] += 1
    return dict(counts)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    interval = "" if row.low is None or row.high is None else f" ({row.low:.3f} .. {row.high:.3f})"
    return f"{row.value:.3f}{interval}"
