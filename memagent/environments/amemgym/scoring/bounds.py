"""What chance and a perfect memory would score, and the memory score between the two.

Random baseline: the share of options that suit, 1 / n. Upper bound: each question is asked once for each of its options,
with that option's values told and no history; its score after a period is that of the variant that is right then. It is
keyed by question and values (the released code forgets the question, so equal values of two questions overwrite each other:
`compat`). In `utilization_results.json` the golden number counts from 1, unlike in overall results. Replies score as
in `scoring`: invalid ones 1 / n, in `compat` what was recorded or drawn.

Memory score S = (a - R) / (UB - R), with a the accuracy, by one of two rules that do not agree. `period`: a, R and UB are
means over users and questions, S is one number a period; the published numbers follow it. `user_period`: means over
questions only, S is one number a user and period, as in the released figure script. Both then average S; neither clips it.
Where UB - R is not positive there is no S: such places are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from memagent.environments.amemgym.data import Item, Question, golden_index, required_values
from memagent.environments.amemgym.official_format import Answer, as_record, depth, read_json
from memagent.environments.amemgym.scoring.answers import chosen_state, expected_score, similarity
from memagent.environments.amemgym.scoring.metrics import (
    DRAWS,
    MEAN,
    Array,
    Cells,
    Pool,
    curve_rows,
    draw_users,
    mean_of_known,
    point_row,
    pooled_rows,
    ratio,
    users_present,
)
from memagent.environments.amemgym.scoring.reply_parser import official_draws
from memagent.errors import InputError
from memagent.evaluation.report import Report, Row

Rule = Literal["period", "user_period"]
RULES: tuple[Rule, ...] = get_args(Rule)
METRIC_OF_RULE: dict[Rule, str] = {"period": "memory_score", "user_period": "memory_score_user_period"}
"""The name of each rule's number in reports."""
UTILIZATION = "utilization_results.json"
Accuracies = list[list[list[float | None]]]
"""[users][periods][questions]."""
Pick = Callable[[Item, int, Question], int | None]
"""A policy: the 0-based option for a user after a period; None for none."""


# -- baselines and policies -------------------------------------------------------------------------------------------


def random_baseline(items: Sequence[Item]) -> Accuracies:
    """The share of options that suit; 0 where none does."""
    return [[[_share(question, period.state) for question in item.qas] for period in item.periods] for item in items]


def constant(option: int = 1) -> Pick:
    """Always the same 1-based option; the last where there are fewer."""
    return lambda _item, _period, question: min(option, len(question.answer_choices)) - 1


def initial_state(item: Item, _period: int, question: Question) -> int | None:
    """The option that suited at the start."""
    return golden_index(question, item.periods[0].state)


def policy_scores(items: Sequence[Item], pick: Pick) -> Accuracies:
    """Accuracy of a policy, cell by cell."""
    return [[[_picked(item, p, one, pick) for one in item.qas] for p in range(len(item.periods))] for item in items]


def _share(question: Question, state: Mapping[str, str]) -> float:
    wanted = tuple(state.get(variable) for variable in question.required_info)
    return sum(choice.state == wanted for choice in question.answer_choices) / len(question.answer_choices)


def _picked(item: Item, period: int, question: Question, pick: Pick) -> float:
    option, golden = pick(item, period, question), golden_index(question, item.periods[period].state)
    choices = question.answer_choices
    return 0.0 if option is None or golden is None else similarity(choices[golden].state, choices[option].state)


# -- upper bound ------------------------------------------------------------------------------------------------------


def read_upper_bound(
    path: str | Path, items: Sequence[Item], *, compat: bool = False, counts: Counter[str] | None = None
) -> Accuracies:
    """The upper bound from `utilization_results.json` (or its folder), or from `utilization_metrics.json`.

    Cells of results are records or raw replies; what was invalid goes into `counts`. Raises `InputError`.
    """
    file = Path(path) / UTILIZATION if Path(path).is_dir() else Path(path)
    users = _users(read_json(file), items, file)
    if all(cell is None or isinstance(cell, int | float) for user in users for row in user or () for cell in row):
        return _sized(users, items, file)
    return upper_bound(items, users, compat=compat, counts=counts)


def _users(value: object, items: Sequence[Item], file: Path) -> list[Any]:
    """The users in the order of the data, None for one without a bound: of metrics, of a list, of an object by user."""
    if isinstance(value, dict):
        value = value["accuracy"] if "accuracy" in value else [value.get(item.id) for item in items]
    if len(items) == 1 and depth(value) == 2:
        value = [value]
    known = [] if not isinstance(value, list) else [user for user in value if user is not None]
    nested = all(isinstance(user, list) and all(isinstance(row, list) for row in user) for user in known)
    if not isinstance(value, list) or not known or not nested or len(value) != len(items):
        raise InputError(f"{file} is no list of {len(items)} users, each a list of lists, as the data would have it")
    return value


def upper_bound(
    items: Sequence[Item],
    results: Sequence[Sequence[Sequence[object]] | None],
    *,
    compat: bool = False,
    counts: Counter[str] | None = None,
) -> Accuracies:
    """[users][periods][questions] from records [users][questions][options]; None where a variant, or a user, was not asked."""
    draws = official_draws()
    found: Accuracies = []
    for item, user in zip(items, results, strict=True):
        if user is None:
            found.append([[None] * len(item.qas) for _ in item.periods])
            continue
        if [len(row) for row in user] != [len(question.answer_choices) for question in item.qas]:
            raise InputError(f"the upper bound of user {item.id} has not one record an option of each question of the data")
        known: dict[object, float | None] = {}
        for q, (question, row) in enumerate(zip(item.qas, user, strict=True)):
            for k, cell in enumerate(row):
                told = question.answer_choices[k].state
                answer = _told(f"upper bound of user {item.id}, question {q}, option {k}", told, k, cell)
                score = None
                if answer is not None:
                    state = chosen_state(answer, question, compat=compat, draws=draws, counts=counts)
                    score = expected_score(question, told) if state is None else similarity(told, state)
                known[told if compat else (q, told)] = score
        found.append([[_known(known, item, p, q, compat) for q in range(len(item.qas))] for p in range(len(item.periods))])
    return found


def _told(place: str, told: tuple[str, ...], option: int, cell: object) -> Answer | None:
    """One record, asked with the values of one option."""
    if cell is None:
        return None
    answer = as_record({"raw_response": cell} if isinstance(cell, str) else cell, Answer, place=place)
    if answer.answer_state is None and answer.answer not in (None, option + 1):
        raise InputError(f"{place}: its answer is {answer.answer}, expected {option + 1}; in upper bounds answers count from 1")
    if answer.answer_state not in (None, told):
        raise InputError(
            f"{place}: it was told {list(answer.answer_state or ())}, the data have {list(told)}; give the data it ran on"
        )
    return answer


def _known(known: Mapping[object, float | None], item: Item, p: int, q: int, compat: bool) -> float | None:
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


def _sized(users: list[Any], items: Sequence[Item], path: Path) -> Accuracies:
    for item, user in zip(items, users, strict=True):
        if user is not None and [len(row) for row in user] != [len(item.qas)] * len(item.periods):
            raise InputError(f"{path}: user {item.id} has not {len(item.periods)} periods of {len(item.qas)} questions")
    return [user or [[None] * len(item.qas) for _ in item.periods] for item, user in zip(items, users, strict=True)]


# -- memory score -----------------------------------------------------------------------------------------------------


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
        """The rows of a report."""
        metric = METRIC_OF_RULE[self.rule]
        rows = [row for row in curve_rows(method, metric, self.curve, self.drawn_curve, users=self.users) if row.at != MEAN]
        return (
            rows
            if np.isnan(self.mean)
            else [*rows, point_row(method, metric, MEAN, self.mean, self.drawn_mean, users=self.users[-1])]
        )


def memory_curve(accuracy: Array, chance: Array, upper: Array) -> Array:
    """(a - R) / (UB - R), place by place; nan where the divisor is not positive."""
    return ratio(accuracy - chance, np.nan_to_num(upper - chance))


def memory_score(accuracy: Cells, chance: Cells, upper: Cells, *, rule: Rule = "period", seed: int = 0) -> MemoryScore:
    """The memory score of results, by a rule, with its draws over users."""
    if rule not in RULES:
        raise InputError(f"there is no rule {rule!r}; there are {', '.join(RULES)}")
    pools, drawn = [Pool.of(cells) for cells in _shared(accuracy, chance, upper)], draw_users(len(accuracy), seed=seed)
    scores = _by_period if rule == "period" else _by_user_period
    return scores(pools, drawn)


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


def _by_period(pools: list[Pool], drawn: NDArray[np.int64]) -> MemoryScore:
    curve, spread = (memory_curve(*(pool.curve(which) for pool in pools)) for which in (None, drawn))
    mean, undefined = float(mean_of_known(curve)), int(np.isnan(curve).sum())
    users = users_present(pools[0].counts > 0)
    return MemoryScore("period", curve, mean, undefined, spread, mean_of_known(spread), users)


def _by_user_period(pools: list[Pool], drawn: NDArray[np.int64]) -> MemoryScore:
    table = memory_curve(*(pool.by_user() for pool in pools))
    present = pools[0].counts > 0
    spread, undefined = mean_of_known(table[drawn], axis=1), int((np.isnan(table) & present).sum())
    means = mean_of_known(table[drawn].reshape(len(drawn), -1))
    curve, mean = mean_of_known(table, axis=0), float(mean_of_known(table.reshape(-1)))
    return MemoryScore("user_period", curve, mean, undefined, spread, means, users_present(~np.isnan(table)))


# -- report -----------------------------------------------------------------------------------------------------------


def bounds_report(
    items: Sequence[Item],
    *,
    upper: Cells | None = None,
    results: Mapping[str, Cells] | None = None,
    seed: int = 0,
    meta: Mapping[str, object] | None = None,
) -> Report:
    """Accuracy of chance and of the reference policies; with an upper bound also memory scores, of `results` too."""
    chance = random_baseline(items)
    methods: dict[str, Cells] = {
        "constant_1": policy_scores(items, constant()),
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
    return Report(name="amemgym-bounds", rows=rows, meta={**facts, **(meta or {})})
