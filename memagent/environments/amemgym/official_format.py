"""The released evaluator's files of results: reading them, and making the records of a run of ours.

A folder holds `<user>/overall_results.json` and `<user>/diagnosis_results.json`: a cell for each period and question,
None where it has not been asked. `answer` counts from 0 in overall results and from 1 in those of the upper bound, `response`
from 1. Agent configurations, which may hold keys, lie in the same folders and are never opened.

In our records a reply without a valid option names none (`response` is null) and scores what a uniformly random option would;
so does a call that failed, whose record also says why (`failure`). Unlike in released files `output_tokens` are output tokens;
`total_tokens` stands beside them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memagent.environments.amemgym.data import UserItem, UserQuestion, golden_index, read_json, wrong_places
from memagent.environments.amemgym.scoring.metrics import expected_score, similarity
from memagent.environments.amemgym.scoring.reply_parser import parse_reply, parse_values
from memagent.errors import InputError
from memagent.models.base import Reply
from memagent.types import Usage

OVERALL = "overall_results.json"
DIAGNOSIS = "diagnosis_results.json"


class AnswerUsage(BaseModel):
    """Tokens and seconds of one answer, as recorded; in official files `output_tokens` holds the total."""

    model_config = ConfigDict(frozen=True, extra="allow")

    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    time_elapsed: float | None = None


class AnswerRecord(BaseModel):
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


RecordModel = TypeVar("RecordModel", AnswerRecord, Probe)
Matrix = list[list[RecordModel | None]]
"""[periods][questions]."""


# -- reading ----------------------------------------------------------------------------------------------------------


def read_answers(path: str | Path, *, items: Sequence[UserItem] | None = None) -> dict[str, Matrix[AnswerRecord]]:
    """Overall results by user, of a folder of users, a user's folder, or a user's file. Raises `InputError` naming the cell."""
    return _by_user(Path(path), OVERALL, items, AnswerRecord)


def read_probes(path: str | Path, *, items: Sequence[UserItem] | None = None) -> dict[str, Matrix[Probe]]:
    """Diagnosis results by user, as `read_answers`."""
    return _by_user(Path(path), DIAGNOSIS, items, Probe)


def _by_user(
    path: Path, name: str, items: Sequence[UserItem] | None, kind: type[RecordModel]
) -> dict[str, Matrix[RecordModel]]:
    """By user in the order of the data, sizes checked; users without results are left out."""
    files = [path] if not path.is_dir() else [path / name] if (path / name).is_file() else sorted(path.glob(f"*/{name}"))
    if not files:
        raise InputError(f"{path} holds no results; expected <user>/{name} in it")
    found = {file.resolve().parent.name: _matrix(file, kind) for file in files}
    if items is None:
        return found
    if strangers := sorted(found.keys() - {item.id for item in items}):
        raise InputError(
            f"{path} has results of {', '.join(strangers[:3])}, who are not in the data; give the data they ran on, and name "
            "each user's folder by its id"
        )
    for item in items:
        sizes = {len(row) for row in found.get(item.id, [])}
        if item.id in found and (len(found[item.id]) != len(item.periods) or sizes != {len(item.qas)}):
            raise InputError(
                f"{path}: the results of user {item.id} have {len(found[item.id])} periods of {sorted(sizes)} questions, "
                f"the data {len(item.periods)} of {len(item.qas)}"
            )
    return {item.id: found[item.id] for item in items if item.id in found}


def _matrix(file: Path, kind: type[RecordModel]) -> Matrix[RecordModel]:
    value, user = read_json(file), file.resolve().parent.name
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        raise InputError(f"{file}: the results of user {user} are no list of periods, each a list of questions")
    return [
        [
            None if cell is None else as_record(cell, kind, place=f"user {user}, period {p}, question {q}")
            for q, cell in enumerate(row)
        ]
        for p, row in enumerate(value)
    ]


def as_record(cell: object, kind: type[RecordModel], *, place: str) -> RecordModel:
    """A cell as a record. Raises `InputError` naming the place."""
    try:
        return kind.model_validate(cell)
    except ValidationError as error:
        raise InputError(f"{place}: {wrong_places(error)}") from error


def usage_totals(answers: Mapping[str, Matrix[AnswerRecord]]) -> dict[str, float]:
    """Tokens and seconds of all answers as recorded; empty where nothing is."""
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


# -- records of a run -------------------------------------------------------------------------------------------------

Record = dict[str, Any]


@dataclass(frozen=True)
class CallResult:
    """What came of one call: a reply, or why there is none."""

    reply: Reply | None
    failure: str | None = None

    @property
    def text(self) -> str:
        """The reply; empty when there is none."""
        return "" if self.reply is None else self.reply.text

    @property
    def usage(self) -> Usage:
        """What it cost; nothing when there is no reply."""
        return Usage() if self.reply is None else self.reply.usage


def answer_record(question: UserQuestion, state: Mapping[str, str], call: CallResult) -> Record:
    """The answer to a question; its golden number counts from 0. Raises `InputError` where no option suits the state."""
    golden = golden_index(question, state)
    if golden is None:
        raise InputError(f"no option of {question.query!r} suits the state (I7); mend the data: memagent amemgym check")
    return _record(question, golden, call, shown=golden)


def bound_record(question: UserQuestion, option: int, call: CallResult) -> Record:
    """The answer to a question asked with the values of an option told; here the golden number counts from 1."""
    return _record(question, option, call, shown=option + 1)


def _record(question: UserQuestion, golden: int, call: CallResult, *, shown: int) -> Record:
    choices = question.answer_choices
    option = parse_reply(call.text, options=len(choices)).option
    chosen = None if option is None else choices[option]
    state = choices[golden].state
    score = expected_score(question, state) if chosen is None else similarity(state, chosen.state)
    read = call.usage.text_in + call.usage.visual  # pictures count as input
    return {
        "query": question.query,
        "answer": shown,
        "answer_state": list(state),
        "answer_choice": choices[golden].answer,
        "raw_response": None if call.reply is None else call.text,
        "response": None if option is None else option + 1,
        "response_state": None if chosen is None else list(chosen.state),
        "response_choice": None if chosen is None else chosen.answer,
        "json_error": chosen is None,
        "llm_usage_statistics": {
            "input_tokens": read,
            "output_tokens": call.usage.text_out,
            "total_tokens": read + call.usage.text_out,
            "time_elapsed": call.usage.seconds,
        },
        "scores": {"accuracy": score},
        **_failure(call),
    }


def probe_record(item: UserItem, period: int, question: int, asked: str, call: CallResult) -> Record:
    """The probe of the values behind a question; `asked` is what the model was asked."""
    required = item.qas[question].required_info
    known = parse_values(call.text, variables=required)
    probe = state_probe(known, item, period, item.qas[question], json_errors=set(required) - known.keys())
    results = [one.model_dump(mode="json") for one in probe.results]
    raw = None if call.reply is None else call.text
    return {"query": asked, "raw_response": raw, "results": results, **_failure(call)}


def _failure(call: CallResult) -> Record:
    return {} if call.failure is None else {"failure": call.failure}


def state_probe(
    known: Mapping[str, object], item: UserItem, period: int, question: UserQuestion, *, json_errors: Collection[str] = ()
) -> Probe:
    """The probe of values as far as they are known: a variable scores 1 when it has exactly the present value."""
    state = item.periods[period].state
    results = tuple(
        ProbeResult(
            info_type=name,
            json_error=name in json_errors,
            answer_state=state.get(name),
            response_state=known.get(name),
            write_pos=item.written_at(name, period),
            read_pos=period,
            score=float(name in known and known[name] == state.get(name)),
        )
        for name in question.required_info
    )
    return Probe(results=results)
