"""Accuracy of answers: the values that the chosen option stands for against the user's values after the period.

A score compares tuples of n values of which m agree: accuracy is 1 when all do, hamming m / n, jaccard m / (2n - m). Three
ways to score, named in every report: `recorded` takes the states that the records hold and needs no data; `expected` reads
replies anew, and one without a valid option scores what a uniformly random option would, deterministically; `compat`
repeats the released evaluator: its recorded choice where there is one, else its acceptance and its random fallback in the
order of users, periods and questions, and the last option as golden where none suits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from memagent.environments.amemgym.data import Item, Question, golden_index, required_values
from memagent.environments.amemgym.official_format import Answer, Matrix
from memagent.environments.amemgym.scoring.metrics import DRAWS, pooled_rows
from memagent.environments.amemgym.scoring.reply_parser import (
    ParsedReply,
    in_range,
    number_of,
    official_draw,
    official_draws,
    official_option,
    parse_official,
    parse_reply,
)
from memagent.errors import InputError
from memagent.evaluation.report import Report

Metric = Literal["accuracy", "hamming", "jaccard"]
METRICS: tuple[Metric, ...] = ("accuracy", "hamming", "jaccard")
Way = Literal["recorded", "expected", "compat"]
State = Sequence[str | None]


@dataclass(frozen=True)
class Scores:
    """Scores of every cell, and how they came about."""

    users: list[str]
    cells: dict[Metric, list[list[list[float | None]]]]
    """Metric to [users][periods][questions]; None where nothing was asked."""
    way: Way
    counts: Counter[str] = field(default_factory=Counter)
    """`answered`, `unanswered`, `invalid` (no valid option; `out_of_range` among them), `drawn` by chance,
    `recorded_json_errors`, `golden_missing`."""

    def official(self) -> dict[str, dict[str, list[list[float | None]]]]:
        """User to the content of its `overall_metrics.json`."""
        return {user: {metric: cells[u] for metric, cells in self.cells.items()} for u, user in enumerate(self.users)}

    def by_user(self, metric: Metric) -> dict[str, list[list[float | None]]]:
        """One metric by user."""
        return dict(zip(self.users, self.cells[metric], strict=True))

    def filled(self, items: Sequence[Item], metric: Metric = "accuracy") -> list[list[list[float | None]]]:
        """One metric for all users of the data, None where a user has no results."""
        known = self.by_user(metric)
        return [known.get(item.id) or [[None] * len(item.qas) for _ in item.periods] for item in items]


def similarity(golden: State, chosen: State, metric: Metric = "accuracy") -> float:
    """How near two tuples of values are. Raises `InputError` for unequal lengths."""
    if len(golden) != len(chosen):
        raise InputError(f"{list(golden)} and {list(chosen)} have unequal numbers of values; they are of different questions")
    same, size = sum(a == b for a, b in zip(golden, chosen, strict=True)), len(golden)
    if metric == "accuracy" or not size:
        return float(same == size)
    return same / size if metric == "hamming" else same / (2 * size - same)


def score_answers(
    answers: Mapping[str, Matrix[Answer]],
    items: Sequence[Item] | None = None,
    *,
    compat: bool = False,
    metrics: Sequence[Metric] = ("accuracy",),
) -> Scores:
    """Score results by user, against the data where it is given. Raises `InputError` naming the cell that cannot be scored."""
    way: Way = "recorded" if items is None else "compat" if compat else "expected"
    scores = Scores(list(answers), {metric: [] for metric in metrics}, way)
    draws = official_draws()
    by_id = {item.id: item for item in items or ()}
    for user, matrix in answers.items():
        found = [[_cell(scores, (user, p, q), one, by_id, draws) for q, one in enumerate(row)] for p, row in enumerate(matrix)]
        for metric in metrics:
            rows = [[None if cell is None else cell[metric] for cell in row] for row in found]
            scores.cells[metric].append(rows)
    return scores


def expected_score(question: Question, golden: State, metric: Metric = "accuracy") -> float:
    """What a uniformly random option scores: 1 / n by accuracy when one option suits."""
    scores = [similarity(golden, choice.state, metric) for choice in question.answer_choices]
    return sum(scores) / len(scores)


def read_option(answer: Answer, *, options: int) -> ParsedReply:
    """The option of an answer in the default acceptance: from its reply, else from its number unless that was drawn."""
    if answer.raw_response is not None:
        return parse_reply(answer.raw_response, options=options)
    number = None if answer.json_error else number_of(answer.response)
    return ParsedReply(None, "unreadable") if number is None else in_range(number, options=options)


def chosen_state(
    answer: Answer, question: Question, *, compat: bool, draws: Random, counts: Counter[str] | None = None
) -> State | None:
    """The values that an answer stands for; None for an invalid one that is scored by its expectation.

    With `compat` the recorded values as they are, else the released evaluator's reading and draw. By default they count
    only where neither a reply nor a number is recorded.
    """
    options, found = len(question.answer_choices), Counter[str]() if counts is None else counts
    if answer.response_state is not None and (compat or (answer.raw_response is None and answer.response is None)):
        found["invalid"] += answer.json_error
        return answer.response_state if compat or not answer.json_error else None
    parsed = _read_official(answer, options) if compat else read_option(answer, options=options)
    if parsed.option is not None:
        return question.answer_choices[parsed.option].state
    found["invalid"] += 1
    found["out_of_range"] += parsed.problem == "out_of_range"
    if not compat:
        return None
    found["drawn"] += 1
    return question.answer_choices[official_draw(draws, options=options)].state


def _read_official(answer: Answer, options: int) -> ParsedReply:
    if answer.raw_response is None:
        return official_option(answer.response, options=options)
    return parse_official(answer.raw_response, options=options)


def _cell(
    scores: Scores, place: tuple[str, int, int], answer: Answer | None, items: Mapping[str, Item], draws: Random
) -> dict[Metric, float] | None:
    if answer is None:
        scores.counts["unanswered"] += 1
        return None
    scores.counts["answered"] += 1
    scores.counts["recorded_json_errors"] += answer.json_error
    try:
        if scores.way == "recorded":
            return _recorded(scores, answer)
        user, p, q = place
        return _against(scores, answer, items[user].qas[q], items[user].periods[p].state, draws)
    except InputError as error:
        raise InputError(f"user {place[0]}, period {place[1]}, question {place[2]}: {error}") from error


def _recorded(scores: Scores, answer: Answer) -> dict[Metric, float]:
    if answer.json_error and answer.response_state is None and scores.cells.keys() <= answer.scores.keys():
        return {metric: answer.scores[metric] for metric in scores.cells}
    if answer.answer_state is None or answer.response_state is None:
        raise InputError("the record lacks answer_state or response_state; give the data file by --data to score the reply")
    return {metric: similarity(answer.answer_state, answer.response_state, metric) for metric in scores.cells}


def _against(
    scores: Scores, answer: Answer, question: Question, state: Mapping[str, str], draws: Random
) -> dict[Metric, float]:
    golden = _golden(scores, question, state)
    if answer.answer_state is not None and answer.answer_state != golden:
        raise InputError(
            f"the record says {list(answer.answer_state)} is right, the data {list(golden)}; give the data it ran on"
        )
    chosen = chosen_state(answer, question, compat=scores.way == "compat", draws=draws, counts=scores.counts)
    if chosen is None:
        return {metric: expected_score(question, golden, metric) for metric in scores.cells}
    return {metric: similarity(golden, chosen, metric) for metric in scores.cells}


def _golden(scores: Scores, question: Question, state: Mapping[str, str]) -> tuple[str, ...]:
    golden = golden_index(question, state)
    if golden is None:
        if scores.way != "compat":
            values = list(required_values(question, state))
            raise InputError(
                f"no option has the values {values} (I7); mend the data, or score as the official code does: --compat"
            )
        scores.counts["golden_missing"] += 1
        golden = -1
    return question.answer_choices[golden].state


def parse_metrics(text: str) -> list[Metric]:
    """Metrics with commas. Raises `InputError`."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in METRICS]:
        raise InputError(f"there is no metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    return [metric for metric in METRICS if metric in names]


def score_report(scores: Scores, *, method: str, seed: int = 0, meta: Mapping[str, object] | None = None) -> Report:
    """The scores by period and in the mean, with intervals over users."""
    rows = [row for metric, cells in scores.cells.items() for row in pooled_rows(method, metric, cells, seed=seed)]
    facts = {"way": scores.way, "counts": dict(scores.counts), "users": len(scores.users), "seed": seed, "draws": DRAWS}
    return Report(name="amemgym", rows=rows, meta={**facts, **(meta or {}), "overall_metrics": scores.official()})
