"""What an assistant answered: one cell for each user, period and question, None where it has not been asked.

Results come as the released evaluator leaves them, `<user>/overall_results.json` and `<user>/diagnosis_results.json` in a
folder, or as one file: a list of users, an object by user, or the matrix of a single user. A cell of overall results is a
record (its `answer` counts from 0, its `response` from 1) or the raw reply alone. Agent configurations, which may hold
keys, lie in the same folders and are never opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memagent.environments.amemgym.data import Item
from memagent.errors import InputError

OVERALL = "overall_results.json"
DIAGNOSIS = "diagnosis_results.json"


class Usage(BaseModel):
    """Tokens and seconds of one answer, as recorded; in official files `output_tokens` holds the total."""

    model_config = ConfigDict(frozen=True, extra="allow")

    input_tokens: int = 0
    output_tokens: int = 0
    time_elapsed: float = 0.0


class Answer(BaseModel):
    """The answer to one question after one period."""

    model_config = ConfigDict(frozen=True, extra="allow")

    query: str | None = None
    answer: int | None = None
    """The golden option: from 0 in overall results, from 1 in the upper bound's."""
    answer_state: tuple[str, ...] | None = None
    raw_response: str | None = None
    response: object = None
    """The 1-based number that was given or drawn."""
    response_state: tuple[str, ...] | None = None
    json_error: bool = False
    llm_usage_statistics: Usage | None = None


class ProbeResult(BaseModel):
    """The probe of one required variable."""

    model_config = ConfigDict(frozen=True, extra="allow")

    info_type: str
    json_error: bool = False
    answer_state: str | None = None
    response_state: object = None
    write_pos: int = Field(ge=0)
    """The last period that set the variable."""
    read_pos: int = Field(ge=0)
    """The period of the probe."""
    score: float


class Probe(BaseModel):
    """The probe of one question after one period: its required variables in order."""

    model_config = ConfigDict(frozen=True, extra="allow")

    results: tuple[ProbeResult, ...]


Record = TypeVar("Record", Answer, Probe)
Matrix = list[list[Record | None]]
"""[periods][questions]."""


def read_answers(path: str | Path, *, items: Sequence[Item] | None = None, replies: bool = False) -> dict[str, Matrix[Answer]]:
    """Overall results by user. With `replies` a cell is the raw reply. Raises `InputError` naming the cell."""
    raw = _by_user(Path(path), OVERALL, items)
    if replies:
        raw = {user: [[_reply(cell) for cell in row] for row in matrix] for user, matrix in raw.items()}
    return {user: _records(user, matrix, Answer) for user, matrix in raw.items()}


def read_probes(path: str | Path, *, items: Sequence[Item] | None = None) -> dict[str, Matrix[Probe]]:
    """Diagnosis results by user. Raises `InputError` naming the cell."""
    return {user: _records(user, matrix, Probe) for user, matrix in _by_user(Path(path), DIAGNOSIS, items).items()}


def read_json(path: Path) -> object:
    """A JSON file. Raises `InputError`."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def depth(value: object) -> int:
    """How deep lists are nested."""
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def _by_user(path: Path, name: str, items: Sequence[Item] | None) -> dict[str, list[list[object]]]:
    found = _folder(path, name) if path.is_dir() else _file(path, items)
    if not found:
        raise InputError(f"{path} holds no results; expected <user>/{name} in a folder, or a file with at least one user")
    for user, matrix in found.items():
        if not isinstance(matrix, list) or not all(isinstance(row, list) for row in matrix):
            raise InputError(f"{path}: the results of user {user} are no list of periods, each a list of questions")
    return found if items is None else _fitting(found, items, path)


def _folder(path: Path, name: str) -> dict[str, list[list[object]]]:
    files = [path / name] if (path / name).is_file() else sorted(path.glob(f"*/{name}"))
    return {file.parent.resolve().name: read_json(file) for file in files}  # type: ignore[misc]


def _file(path: Path, items: Sequence[Item] | None) -> dict[str, list[list[object]]]:
    value = read_json(path)
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        raise InputError(f"{path} holds {type(value).__name__}; expected a list of users, of periods, or an object by user")
    known = None if items is None else [item.id for item in items]
    if depth(value) == 2:
        folder = path.resolve().parent.name
        alone = folder if known is None or folder in known or len(known) != 1 else known[0]
        return {alone: value}
    if known is None:
        return {str(k): matrix for k, matrix in enumerate(value)}
    if len(value) > len(known):
        raise InputError(f"{path} has {len(value)} users, the data {len(known)}")
    return dict(zip(known, value, strict=False))


def _fitting(found: Mapping[str, list[list[object]]], items: Sequence[Item], path: Path) -> dict[str, list[list[object]]]:
    """The results in the order of the data, sizes checked; users without results are left out."""
    known = {item.id for item in items}
    if strangers := sorted(found.keys() - known):
        raise InputError(
            f"{path} has results of {', '.join(strangers[:3])}, who are not in the data; give the data they ran on"
        )
    for item in items:
        matrix = found.get(item.id, [])
        sizes = {len(row) for row in matrix}
        if matrix and (len(matrix) != len(item.periods) or sizes != {len(item.qas)}):
            raise InputError(
                f"{path}: the results of user {item.id} have {len(matrix)} periods of {sorted(sizes)} questions, "
                f"the data {len(item.periods)} of {len(item.qas)}"
            )
    return {item.id: found[item.id] for item in items if item.id in found}


def _reply(cell: object) -> object:
    return {"raw_response": cell} if isinstance(cell, str) else cell


def _records(user: str, matrix: list[list[object]], kind: type[Record]) -> Matrix[Record]:
    return [[_record(user, p, q, cell, kind) for q, cell in enumerate(row)] for p, row in enumerate(matrix)]


def _record(user: str, p: int, q: int, cell: object, kind: type[Record]) -> Record | None:
    return None if cell is None else as_record(cell, kind, place=f"user {user}, period {p}, question {q}")


def as_record(cell: object, kind: type[Record], *, place: str) -> Record:
    """A cell as a record. Raises `InputError` naming the place."""
    try:
        return kind.model_validate(cell)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        hint = "; raw replies are read with --replies" if isinstance(cell, str) else ""
        field = ".".join(map(str, first["loc"])) or "the cell"
        raise InputError(f"{place}: {field}: {first['msg']}{hint}") from error


def usage_totals(answers: Mapping[str, Matrix[Answer]]) -> dict[str, float]:
    """Tokens and seconds of all answers, as recorded."""
    found = [one.llm_usage_statistics for matrix in answers.values() for row in matrix for one in row if one is not None]
    known = [one for one in found if one is not None]
    totals: dict[str, float] = {name: sum(getattr(one, name) for one in known) for name in ("input_tokens", "output_tokens")}
    return {**totals, "seconds": sum(one.time_elapsed for one in known)} if known else {}


def beside(path: Path) -> Path | None:
    """Where overall results lie next to diagnosis results: the same folder if it holds them, None otherwise."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and any(folder.glob(f"*/{OVERALL}")):
        return folder
    return folder / OVERALL if (folder / OVERALL).is_file() else None
