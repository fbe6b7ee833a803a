"""AMemGym's numbers computed a second time, from the benchmark's description alone and on plain JSON.

Nothing of `memagent` is used. Replies are not parsed here: `SAYINGS` lists texts with what they mean by hand (None: nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = Any
Table = list[list[list[float | None]]]
"""[users][periods][questions]."""
Saying = tuple[Callable[[int, int], str], Callable[[int, int], int | None]]
"""From a number k and the number n of options: the text, and what it says."""


def _k(k: int, n: int) -> int | None:
    return k


def _none(k: int, n: int) -> int | None:
    return None


SAYINGS: dict[str, Saying] = {
    "fence": (lambda k, n: f'```json\n{{"answer": {k}}}\n```', _k),
    "object": (lambda k, n: f' {{"answer": {k}, "why": "it fits"}}\n', _k),
    "fence in prose": (lambda k, n: f'Well.\n```json\n{{"answer": {k}}}\n```\nSo.', _k),
    "two fences": (lambda k, n: f'```json\n{{"answer": {k}}}\n```\n```json\n{{"answer": {k % n + 1}}}\n```', _k),
    "fence without tag": (lambda k, n: f'```\n{{"answer": {k}}}\n```', _k),
    "open fence": (lambda k, n: f'```json\n{{"answer": {k}}}', _k),
    "bare number": (lambda k, n: f"{k}", _k),
    "bare float": (lambda k, n: f"{k}.0", _k),
    "bare string": (lambda k, n: f'"{k}"', _k),
    "string": (lambda k, n: f'{{"answer": "{k}"}}', _k),
    "float": (lambda k, n: f'{{"answer": {k}.0}}', _k),
    "object in prose": (lambda k, n: f'I would take {{"answer": {k}}}, clearly.', _k),
    "object in a list": (lambda k, n: f'[{{"answer": {k}}}]', _k),
    "zero": (lambda k, n: '{"answer": 0}', _none),
    "minus one": (lambda k, n: '{"answer": -1}', _none),
    "lowest index": (lambda k, n: f'{{"answer": {1 - n}}}', _none),
    "below it": (lambda k, n: f'{{"answer": {-n}}}', _none),
    "above": (lambda k, n: f'{{"answer": {n + 1}}}', _none),
    "huge": (lambda k, n: f'{{"answer": 1{"0" * 30}}}', _none),
    "endless": (lambda k, n: f'{{"answer": {"9" * 5_000}}}', _none),
    "true": (lambda k, n: '{"answer": true}', _none),
    "false": (lambda k, n: '{"answer": false}', _none),
    "null": (lambda k, n: '{"answer": null}', _none),
    "not a number": (lambda k, n: '{"answer": NaN}', _none),
    "infinite": (lambda k, n: '{"answer": Infinity}', _none),
    "broken number": (lambda k, n: f'{{"answer": {k}.5}}', _none),
    "list": (lambda k, n: f'{{"answer": [{k}]}}', _none),
    "only a list": (lambda k, n: f"[{k}]", _none),
    "other key": (lambda k, n: f'{{"option": {k}}}', _none),
    "other digits": (lambda k, n: '{"answer": "٢"}', _none),
    "a word": (lambda k, n: "the second one", _none),
    "nothing": (lambda k, n: "", _none),
    "json null": (lambda k, n: "null", _none),
    "half": (lambda k, n: '{"answer":', _none),
}


def golden(item: Json, p: int, q: int) -> int:
    """The first option that has the values after the period, from 0."""
    question, state = item["qas"][q], item["periods"][p]["state"]
    wanted = [state[name] for name in question["required_info"]]
    return [choice["state"] for choice in question["answer_choices"]].index(wanted)


def scores(items: list[Json], said: Json) -> Table:
    """Accuracy of `said` [users][periods][questions] = (saying, k), or None."""
    return [
        [[_score(item, p, q, cell) for q, cell in enumerate(row)] for p, row in enumerate(user)]
        for item, user in zip(items, said, strict=True)
    ]


def _score(item: Json, p: int, q: int, cell: Json) -> float | None:
    return None if cell is None else told(cell, len(item["qas"][q]["answer_choices"]), golden(item, p, q))


def told(cell: tuple[str, int], n: int, right: int) -> float:
    """What one saying scores where option `right` (from 0) of n suits."""
    name, k = cell
    number = SAYINGS[name][1](k, n)
    return 1 / n if number is None else float(number - 1 == right)


def curve(table: Table) -> list[float]:
    """Means over users and questions for each period that has an answer."""
    longest = max(len(user) for user in table)
    pools = [[cell for user in table if p < len(user) for cell in user[p] if cell is not None] for p in range(longest)]
    return [sum(pool) / len(pool) for pool in pools if pool]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def chance(items: list[Json]) -> Table:
    return [[[1 / len(one["answer_choices"]) for one in item["qas"]] for _ in item["periods"]] for item in items]


def constant(items: list[Json]) -> Table:
    return [
        [[float(golden(item, p, q) == 0) for q in range(len(item["qas"]))] for p in range(len(item["periods"]))]
        for item in items
    ]


def upper(items: list[Json], asked: Json) -> Table:
    """The upper bound from `asked` [users][questions][options] = (saying, k)."""
    table: Table = []
    for item, user in zip(items, asked, strict=True):
        kept: dict[Any, float] = {}
        for q, row in enumerate(user):
            for option, cell in enumerate(row):
                values = tuple(item["qas"][q]["answer_choices"][option]["state"])
                kept[q, values] = told(cell, len(row), option)
        rows = []
        for period in item["periods"]:
            wanted = [tuple(period["state"][name] for name in one["required_info"]) for one in item["qas"]]
            rows.append([kept[q, values] for q, values in enumerate(wanted)])
        table.append(rows)
    return table


def memory(accuracy: Table, low: Table, high: Table, *, by_user: bool) -> tuple[float | None, int]:
    """The memory score by one rule, and how many places have none."""
    groups = [[user] for user in range(len(accuracy))] if by_user else [list(range(len(accuracy)))]
    found, undefined = [], 0
    for users in groups:
        for p in range(max(len(accuracy[u]) for u in users)):
            places = [(u, q) for u in users if p < len(accuracy[u]) for q in range(len(accuracy[u][p]))]
            known = [(u, q) for u, q in places if accuracy[u][p][q] is not None]
            if not known:
                undefined += not by_user
                continue
            a, r, ub = (mean([table[u][p][q] or 0.0 for u, q in known]) for table in (accuracy, low, high))
            if ub - r > 0:
                found.append((a - r) / (ub - r))
            else:
                undefined += 1
    return (mean(found) if found else None), undefined


def last_update(item: Json, name: str, p: int) -> int:
    return max([t for t in range(p + 1) if name in item["periods"][t]["updates"]], default=0)


def failures(item: Json, known: Callable[[int, int, str], bool]) -> dict[str, list[list[int]]]:
    """Counts of one user; `known(p, q, variable)` says whether that probe was answered right."""
    sizes = range(len(item["periods"])), range(len(item["qas"]))
    table: dict[str, list[list[int]]] = {"write_failure": [], "read_failure": [], "memory_success": []}
    for p in sizes[0]:
        write, read = [], []
        for q in sizes[1]:
            lost = [name for name in item["qas"][q]["required_info"] if not known(p, q, name)]
            written = [name for name in lost if known(last_update(item, name, p), q, name)]
            write.append(len(lost) - len(written))
            read.append(len(written))
        table["write_failure"].append(write)
        table["read_failure"].append(read)
        table["memory_success"].append([int(w == r == 0) for w, r in zip(write, read, strict=True)])
    return table


def rates(counts: list[dict[str, list[list[int]]]], accuracy: Table) -> dict[str, float]:
    """Mean failure rates: shares of what each question lacks to 1, over users and questions, then over periods."""
    shares: dict[str, Table] = {"write_failure": [], "read_failure": [], "utilization_failure": []}
    for one, user in zip(counts, accuracy, strict=True):
        tables: dict[str, list[list[float | None]]] = {name: [] for name in shares}
        for p, row in enumerate(user):
            for name in shares:
                tables[name].append([])
            for q, score in enumerate(row):
                w, r = one["write_failure"][p][q], one["read_failure"][p][q]
                lost = 1 - (score or 0.0)
                parts = (lost * w / (w + r), lost * r / (w + r), 0.0) if w + r else (0.0, 0.0, lost)
                for name, part in zip(shares, parts, strict=True):
                    tables[name][-1].append(None if score is None else part)
        for name, table in tables.items():
            shares[name].append(table)
    return {name: mean(curve(table)) for name, table in shares.items()}
