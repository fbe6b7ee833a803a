"""Accuracy of answers: the values that the chosen option stands for against the user's values after the period.

Three ways to score, named in every report: `recorded` takes the states that the records hold and needs no data; `expected`
reads replies anew, and one without a valid option scores what a uniformly random option would, deterministically; `compat`
takes the released evaluator's choice as it is recorded, drawn ones included, and the last option as golden where none suits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from memagent.environments.amemgym.data import UserItem, UserQuestion, golden_index, required_values
from memagent.environments.amemgym.official_format import AnswerRecord, Matrix
from memagent.environments.amemgym.scoring.metrics import (
    DRAWS,
    METRICS,
    Accuracies,
    Metric,
    PeriodReport,
    Values,
    expected_score,
    pooled_rows,
    similarity,
)
from memagent.environments.amemgym.scoring.reply_parser import ParsedReply, in_range, number_of, parse_reply
from memagent.errors import InputError
from memagent.evaluation.report import Report

Way = Literal["recorded", "expected", "compat"]


@dataclass(frozen=True)
class AnswerScores:
    """Scores of every cell, and how they came about."""

    users: list[str]
    cells: dict[Metric, Accuracies]
    """Metric to [users][periods][questions]; None where nothing was asked."""
    way: Way
    counts: Counter[str] = field(default_factory=Counter)
    """`answered`, `unanswered`, `invalid` (no valid option; `out_of_range` among them), `recorded_json_errors`,
    `golden_missing`."""

    def official(self) -> dict[str, dict[str, list[list[float | None]]]]:
        """User to the content of its `overall_metrics.json`."""
        return {user: {metric: cells[u] for metric, cells in self.cells.items()} for u, user in enumerate(self.users)}

    def by_user(self, metric: Metric = "accuracy") -> dict[str, list[list[float | None]]]:
        return dict(zip(self.users, self.cells[metric], strict=True))

    def filled(self, items: Sequence[UserItem], metric: Metric = "accuracy") -> Accuracies:
        """One metric for all users of the data, None where a user has no results."""
        known = self.by_user(metric)
        return [known.get(item.id) or [[None] * len(item.qas) for _ in item.periods] for item in items]


def score_answers(
    answers: Mapping[str, Matrix[AnswerRecord]],
    items: Sequence[UserItem] | None = None,
    *,
    compat: bool = False,
    metrics: Sequence[Metric] = ("accuracy",),
) -> AnswerScores:
    """Score results by user, against the data where it is given. Raises `InputError` naming the cell that cannot be scored."""
    way: Way = "recorded" if items is None else "compat" if compat else "expected"
    scores = AnswerScores(list(answers), {metric: [] for metric in metrics}, way)
    by_id = {item.id: item for item in items or ()}
    for user, matrix in answers.items():
        found = [[_cell(scores, by_id, user, p, q, one) for q, one in enumerate(row)] for p, row in enumerate(matrix)]
        for metric in metrics:
            rows = [[None if cell is None else cell[metric] for cell in row] for row in found]
            scores.cells[metric].append(rows)
    return scores


def chosen_state(
    answer: AnswerRecord, question: UserQuestion, *, compat: bool, counts: Counter[str] | None = None
) -> Values | None:
    """The values that an answer stands for; None for an invalid one, which is scored by its expectation.

    With `compat` they are the recorded ones. By default these count only where neither a reply nor a number is recorded.
    """
    found = Counter[str]() if counts is None else counts
    if compat and answer.response_state is None:
        raise InputError("the record lacks response_state, which --compat takes as it is; score it without --compat")
    if compat or (answer.response_state is not None and answer.raw_response is None and answer.response is None):
        found["invalid"] += answer.json_error
        return answer.response_state if compat or not answer.json_error else None
    options, number = len(question.answer_choices), None if answer.json_error else number_of(answer.response)
    if answer.raw_response is not None:
        parsed = parse_reply(answer.raw_response, options=options)
    else:  # a number that was drawn is no answer
        parsed = ParsedReply(None, "unreadable") if number is None else in_range(number, options=options)
    if parsed.option is not None:
        return question.answer_choices[parsed.option].state
    found["invalid"] += 1
    found["out_of_range"] += parsed.problem == "out_of_range"
    return None


def _cell(
    scores: AnswerScores, items: Mapping[str, UserItem], user: str, p: int, q: int, answer: AnswerRecord | None
) -> dict[Metric, float] | None:
    if answer is None:
        scores.counts["unanswered"] += 1
        return None
    scores.counts["answered"] += 1
    scores.counts["recorded_json_errors"] += answer.json_error
    try:
        if scores.way == "recorded":
            return _recorded(scores, answer)
        return _against(scores, answer, items[user].qas[q], items[user].periods[p].state)
    except InputError as error:
        raise InputError(f"user {user}, period {p}, question {q}: {error}") from error


def _recorded(scores: AnswerScores, answer: AnswerRecord) -> dict[Metric, float]:
    if answer.json_error and answer.response_state is None and scores.cells.keys() <= answer.scores.keys():
        return {metric: answer.scores[metric] for metric in scores.cells}
    if answer.answer_state is None or answer.response_state is None:
        raise InputError("the record lacks answer_state or response_state; give the data file by --data to score the reply")
    return {metric: similarity(answer.answer_state, answer.response_state, metric) for metric in scores.cells}


def _against(
    scores: AnswerScores, answer: AnswerRecord, question: UserQuestion, state: Mapping[str, str]
) -> dict[Metric, float]:
    option, compat = golden_index(question, state), scores.way == "compat"
    if option is None and not compat:
        values = list(required_values(question, state))
        raise InputError(f"no option has the values {values} (I7); mend the data, or score as the official code does: --compat")
    scores.counts["golden_missing"] += option is None
    golden = question.answer_choices[-1 if option is None else option].state
    if answer.answer_state is not None and answer.answer_state != golden:
        raise InputError(
            f"the record says {list(answer.answer_state)} is right, the data {list(golden)}; give the data it ran on"
        )
    chosen = chosen_state(answer, question, compat=compat, counts=scores.counts)
    if chosen is None:
        return {metric: expected_score(question, golden, metric) for metric in scores.cells}
    return {metric: similarity(golden, chosen, metric) for metric in scores.cells}


def parse_metrics(text: str) -> list[Metric]:
    """Metrics with commas. Raises `InputError`."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in METRICS]:
        raise InputError(f"there is no metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    return [metric for metric in METRICS if metric in names]


def score_report(scores: AnswerScores, *, method: str, seed: int = 0, meta: Mapping[str, object] | None = None) -> Report:
    """The scores by period and in the mean, with intervals over users."""
    rows = [row for metric, cells in scores.cells.items() for row in pooled_rows(method, metric, cells, seed=seed)]
    facts = {"way": scores.way, "counts": dict(scores.counts), "users": len(scores.users), "seed": seed, "draws": DRAWS}
    return PeriodReport(name="amemgym", rows=rows, meta={**facts, **(meta or {}), "overall_metrics": scores.official()})
