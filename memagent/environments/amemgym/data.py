"""The environment file `data.json`: users whose values change from period to period, and the questions about them.

A list of items, one a user. A schema names the user's variables and their values; each period holds the assignment after
it, what changed, and the sessions whose opening utterances give the changes away; each question has one answer option a
variant of its required variables. The fields are the official ones in the official order; unknown fields are kept and
written back, fields that a slimmer file leaves out are written with their defaults. Models are frozen: share them freely.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from memagent.errors import InputError
from memagent_renderers.files import write_atomic

T = TypeVar("T")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class UserProfile(_Record):
    """Who the user is. The two lists of interests and skills are strings with commas."""

    uuid: str
    name: str = ""
    age: Annotated[int | None, Field(strict=True)] = None
    gender: str = ""
    marital_status: str = ""
    education_level: str = ""
    occupation: str = ""
    hobbies_and_interests: str = ""
    skills_and_expertise: str = ""
    complementary_info: str = ""
    formatted_str: str
    """Nine lines `key: value`, from the name to the complementary information: what the simulated user is told."""


class UserSession(_Record):
    """One conversation: its opening utterance is fixed, the rest is up to the assistant."""

    event: str | None = None
    """What happened, from which the utterance was written; None in the period 0."""
    exposed_states: dict[str, str] = Field(default_factory=dict)
    """Variables that the utterance gives away, with their values."""
    query: str
    messages: tuple[dict[str, object], ...] = ()
    """Stored messages; none in published data."""
    session_time: str
    """`YYYY-MM-DD HH:MM:SS`."""


class Update(_Record):
    """The change of one variable; `old` is None in the period 0."""

    old: str | None
    new: str


class Period(_Record):
    """A stretch of months; the period 0 is the moment of the start and lists every variable as an update."""

    period_start: str | None = None
    period_end: str
    period_summary: str | None = None
    sessions: tuple[UserSession, ...]
    state: dict[str, str]
    """The whole assignment after the period."""
    updates: dict[str, Update]
    update_cnts: dict[str, int] = Field(default_factory=dict)
    """How often each variable changes over all periods: the same totals in every period."""


class Choice(_Record):
    """An answer option and the variant that it suits."""

    state: tuple[str, ...]
    """Values in the order of the question's required variables."""
    answer: str
    type: Literal["experience", "random"] = "random"
    """Whether the variant occurs in some period."""


class UserQuestion(_Record):
    """Asked again after every period, with the same options."""

    query: str
    required_info: tuple[str, ...]
    """Variables on which the right option depends."""
    answer_choices: tuple[Choice, ...]


class UserItem(_Record):
    """One user: the environment of one evaluation."""

    id: str
    start_time: str
    user_profile: UserProfile
    state_schema: dict[str, tuple[str, ...]]
    """Variable to its values, in order."""
    periods: tuple[Period, ...]
    qas: tuple[UserQuestion, ...]

    def written_at(self, variable: str, period: int) -> int:
        """The last period up to `period` in which the variable was set; 0 when it never changed."""
        return max((p for p in range(period + 1) if variable in self.periods[p].updates), default=0)


_ITEMS = TypeAdapter(list[UserItem])


def load_items(path: str | Path) -> list[UserItem]:
    """The users of an environment file, whose invariants `validate` checks. Raises `InputError` with the first wrong places."""
    return read_file(Path(path), _ITEMS, "AMemGym data file")


def read_file(file: Path, form: TypeAdapter[T], what: str) -> T:
    """What a JSON file of a form holds. Raises `InputError` naming the file and the first places where it is no `what`."""
    try:
        return form.validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise InputError(f"{file} is no {what}: {wrong_places(error)}") from error


def read_json(file: Path) -> object:
    """What any JSON file holds, NaN and all. Raises `InputError`."""
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from error


def wrong_places(error: ValidationError) -> str:
    """The first places where something is not of its form, each with what is wrong; never a value."""
    found = error.errors(include_url=False, include_input=False)
    said = [f"{'.'.join(map(str, one['loc'])) or 'the whole'}: {one['msg']}" for one in found[:3]]
    return "; ".join(said) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def save_items(items: Sequence[UserItem], path: str | Path) -> None:
    """Write an environment file: UTF-8, indent 2, order kept; the old file stays until the new one is whole."""
    write_json([item.model_dump(mode="json") for item in items], path)


def write_json(value: object, path: str | Path) -> None:
    """Write JSON as the official files have it: UTF-8 with non-ASCII kept, indent 2. Whole or not at all."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(value, ensure_ascii=False, indent=2), mode=0o644, sync=True)


def required_values(question: UserQuestion, state: Mapping[str, str]) -> tuple[str | None, ...]:
    """The variant that a state asks for: its values of the question's required variables; None where it has none."""
    return tuple(state.get(variable) for variable in question.required_info)


def golden_index(question: UserQuestion, state: Mapping[str, str]) -> int | None:
    """The 0-based index of the first option that suits a state; None when none does (I7 is broken)."""
    wanted = required_values(question, state)
    return next((k for k, choice in enumerate(question.answer_choices) if choice.state == wanted), None)
