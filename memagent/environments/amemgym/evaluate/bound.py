"""The upper bound of a model: every question once an option, with that option's values told and no history.

It depends on the model and the data alone, whatever the memory; the score of a question after a period is that of the option
that is right then. `utilization_results.json` is [users][questions][options], its golden number counts from 1;
`utilization_metrics.json` is [users][periods][questions].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memagent.environments.amemgym.data import Item, Question, write_json
from memagent.environments.amemgym.evaluate.pair import call
from memagent.environments.amemgym.evaluate.records import Said, bound_record
from memagent.environments.amemgym.rule_reader import question_prompt
from memagent.environments.amemgym.scoring.bounds import Accuracies, upper_bound
from memagent.models.base import ChatModel
from memagent.models.concurrency import CallPool
from memagent.prompts import Prompt
from memagent.types import Usage, user_message

RESULTS, METRICS = "utilization_results.json", "utilization_metrics.json"


@dataclass(frozen=True)
class Bound:
    """An upper bound, what it cost, and the calls that failed."""

    accuracy: Accuracies
    usage: Usage
    failures: list[str]


def told_prompt(question: Question, option: int) -> str:
    """A question with the values of one of its options told."""
    values = dict(zip(question.required_info, question.answer_choices[option].state, strict=True))
    return f"My present situation is this:\n{json.dumps(values, ensure_ascii=False, indent=2)}\n\n{question_prompt(question)}"


def ask_bound(items: Sequence[Item], model: ChatModel, *, limit: CallPool, max_tokens: int, folder: Path) -> Bound:
    """Ask, and write the official files to a folder."""
    places = [
        (u, q, k)
        for u, item in enumerate(items)
        for q, question in enumerate(item.qas)
        for k in range(len(question.answer_choices))
    ]

    def ask(place: tuple[int, int, int]) -> Said:
        u, q, k = place
        return call(model, Prompt([user_message(told_prompt(items[u].qas[q], k))], max_tokens))

    said = dict(zip(places, limit.map(ask, places), strict=True))
    results = [
        [
            [bound_record(question, k, said[u, q, k]) for k in range(len(question.answer_choices))]
            for q, question in enumerate(item.qas)
        ]
        for u, item in enumerate(items)
    ]
    upper = upper_bound(items, results)
    write_json(results, folder / RESULTS)
    write_json({"accuracy": upper}, folder / METRICS)
    failures = [
        f"upper bound, user {items[u].id}, question {q}, option {k}: {one.failure}"
        for (u, q, k), one in said.items()
        if one.failure is not None
    ]
    return Bound(upper, sum((one.usage for one in said.values()), Usage()), failures)
