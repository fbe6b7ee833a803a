"""What an assistant answered: one cell for each user, period and question, None where it has not been asked.

Results come as the released evaluator leaves them, `<user>/overall_results.json` and `<user>/diagnosis_results.json` in a
folder, or as one file: a list of users, an object by user, or the matrix of a single user. A cell of overall results is a
record (its `answer` counts from 0, its `response` from 1) or the raw reply alone; probes may be raw replies too. Agent
configurations, which may hold keys, lie in the same folders and are never opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memagent.environments.amemgym.data import Item
from memagent.environments.amemgym.scoring.reply_parser import parse_values
from memagent.errors import InputError

OVERALL = "overall_results.json"
DIAGNOSIS = "diagnosis_results.json"


class AnswerUsage(BaseModel):
    """Tokens and seconds of one answer, as recorded; in official files `output_tokens` holds the total."""

    model_config = ConfigDict(frozen=True, extra="allow")

    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    time_elapsed: float | None = None


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
    llm_usage_statistics: AnswerUsage | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    """Metric to the score that it was given."""


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


def read_probes(
    path: str | Path, *, items: Sequence[Item] | None = None, replies: bool = False, compat: bool = False
) -> dict[str, Matrix[Probe]]:
    """Diagnosis results by user. With `replies` a cell is the raw reply, scored by the data; `compat` as `parse_values` has it.

    Raises `InputError` naming the cell.
    """
    raw = _by_user(Path(path), DIAGNOSIS, items)
    if not replies:
        return {user: _records(user, matrix, Probe) for user, matrix in raw.items()}
    if items is None:
        raise InputError("raw replies to probes are scored by the data; give the data file by --data")
    by_id = {item.id: item for item in items}
    return {
        user: [[_probed(cell, by_id[user], p, q, compat) for q, cell in enumerate(row)] for p, row in enumerate(matrix)]
        for user, matrix in raw.items()
    }


def probe_of(reply: str, item: Item, period: int, question: int, *, compat: bool = False) -> Probe:
    """The record of a probe's reply: a variable scores 1 when its value is named exactly; one not named is a JSON error."""
    required, state = item.qas[question].required_info, item.periods[period].state
    said = parse_values(reply, variables=required, compat=compat)
    results = tuple(
        ProbeResult(
            info_type=name,
            json_error=name not in said,
            answer_state=state.get(name),
            response_state=said.get(name),
            write_pos=item.written_at(name, period),
            read_pos=period,
            score=float(name in said and said[name] == state.get(name)),
        )
        for name in required
    )
    return Probe(results=results)


def read_json(path: Path) -> object:
    """A JSON file. Raises `InputError`."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
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
        return {_alone(path, known): value}
    if known is not None and len(value) > len(known):
        raise InputError(f"{path} has {len(value)} users, the data {len(known)}")
    users = map(str, range(len(value))) if known is None else known
    return {user: matrix for user, matrix in zip(users, value, strict=False) if matrix is not None}


def _alone(path: Path, known: Sequence[str] | None) -> str:
    """The user of a file with one matrix: named by its folder, or the only one of the data."""
    folder = path.resolve().parent.name
    if known is None or folder in known:
        return folder
    if len(known) != 1:
        raise InputError(
            f"{path} holds one user's periods, the data have {len(known)} users; give a list of users, an object by user, "
            "or put the file into a folder named by its user"
        )
    return known[0]


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
    """A raw reply as a record. What is no text is the JSON that was said; a record stays one, null is not asked."""
    if cell is None or (isinstance(cell, dict) and "raw_response" in cell):
        return cell
    return {"raw_response": cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)}


def _probed(cell: object, item: Item, p: int, q: int, compat: bool) -> Probe | None:
    if cell is None:
        return None
    if isinstance(cell, dict) and "results" in cell:
        return _record(item.id, p, q, cell, Probe)
    record = _record(item.id, p, q, _reply(cell), Answer)
    return probe_of((record and record.raw_response) or "", item, p, q, compat=compat)


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
    names = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "seconds": "time_elapsed"}
    return {told: sum(getattr(one, name) or 0 for one in known) for told, name in names.items()} if known else {}


def beside(path: Path) -> Path | None:
    """Where overall results lie next to diagnosis results: the same folder if it holds them, None otherwise."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and any(folder.glob(f"*/{OVERALL}")):
        return folder
    return folder / OVERALL if (folder / OVERALL).is_file() else None
