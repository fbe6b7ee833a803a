"""The upper bound: what a perfect memory would score.

Each question is asked once for each of its options, with that option's values told and no history; its score after a period is
that of the variant that is right then. It is keyed by question and values. The released code forgets the question, so that
equal values of two questions of a user overwrite each other: `compat`. In `utilization_results.json`,
[users][questions][options], the golden number counts from 1, unlike in overall results; `utilization_metrics.json` is
[users][periods][questions]. Replies score as in `answers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memagent.environments.amemgym.data import UserItem, golden_index, read_json, required_values
from memagent.environments.amemgym.official_format import AnswerRecord, as_record
from memagent.environments.amemgym.scoring.answers import chosen_state
from memagent.environments.amemgym.scoring.metrics import Accuracies, expected_score, similarity
from memagent.errors import InputError

RESULTS, UPPER_BOUND_METRICS = "utilization_results.json", "utilization_metrics.json"


def read_upper_bound(
    path: str | Path, items: Sequence[UserItem], *, compat: bool = False, counts: Counter[str] | None = None
) -> Accuracies:
    """The upper bound of an official file of either kind, or of the folder of the results. Raises `InputError`.

    What was invalid goes into `counts`.
    """
    file = Path(path) / RESULTS if Path(path).is_dir() else Path(path)
    value = read_json(file)
    users: Any = value.get("accuracy") if isinstance(value, dict) else value
    if (
        not isinstance(users, list)
        or len(users) != len(items)
        or not all(isinstance(user, list) and all(isinstance(row, list) for row in user) for user in users)
    ):
        raise InputError(f"{file} is no list of {len(items)} users, each a list of lists, as the data would have it")
    if isinstance(value, list):
        return upper_bound(items, users, compat=compat, counts=counts)
    for item, user in zip(items, users, strict=True):
        if [len(row) for row in user] != [len(item.qas)] * len(item.periods):
            raise InputError(f"{file}: user {item.id} has not {len(item.periods)} periods of {len(item.qas)} questions")
        if any(not isinstance(cell, int | float | None) for row in user for cell in row):
            raise InputError(f"{file}: the scores of user {item.id} are no numbers")
    return users


def upper_bound(
    items: Sequence[UserItem],
    results: Sequence[Sequence[Sequence[object]]],
    *,
    compat: bool = False,
    counts: Counter[str] | None = None,
) -> Accuracies:
    """[users][periods][questions] from records [users][questions][options]; None where a variant was not asked."""
    found: Accuracies = []
    for item, user in zip(items, results, strict=True):
        if [len(row) for row in user] != [len(question.answer_choices) for question in item.qas]:
            raise InputError(f"the upper bound of user {item.id} has not one record an option of each question of the data")
        known: dict[object, float | None] = {}
        for q, (question, row) in enumerate(zip(item.qas, user, strict=True)):
            for k, cell in enumerate(row):
                told = question.answer_choices[k].state
                score, answer = None, _checked_record(f"upper bound of user {item.id}, question {q}, option {k}", told, k, cell)
                if answer is not None:
                    state = chosen_state(answer, question, compat=compat, counts=counts)
                    score = expected_score(question, told) if state is None else similarity(told, state)
                known[told if compat else (q, told)] = score
        found.append([[_score_of(known, item, p, q, compat) for q in range(len(item.qas))] for p in range(len(item.periods))])
    return found


def _checked_record(place: str, told: tuple[str, ...], option: int, cell: object) -> AnswerRecord | None:
    if cell is None:
        return None
    answer = as_record(cell, AnswerRecord, place=place)
    if answer.answer_state is None and answer.answer not in (None, option + 1):
        raise InputError(f"{place}: its answer is {answer.answer}, expected {option + 1}; in upper bounds answers count from 1")
    if answer.answer_state not in (None, told):
        raise InputError(
            f"{place}: it was told {list(answer.answer_state or ())}, the data have {list(told)}; give the data it ran on"
        )
    return answer


def _score_of(known: Mapping[object, float | None], item: UserItem, p: int, q: int, compat: bool) -> float | None:
    question, state = item.qas[q], item.periods[p].state
    wanted = required_values(question, state)
    if compat:  # also where another question of the user has these values
        return known.get(wanted, known[question.answer_choices[-1].state])
    if golden_index(question, state) is None:
        raise InputError(
            f"user {item.id}, period {p}, question {q}: no option suits the state (I7), so there is no upper bound; "
            "mend the data, or take the last option as the official code does: --compat"
        )
    return known[q, wanted]
