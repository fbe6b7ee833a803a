"""The forms of a writing model's answers: what constrained decoding is given, before any check of sense."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

_NO_WORD = re.compile(r"\W+")


def snake(name: str) -> str:
    """A variable's name as it is written everywhere: small letters, words joined by underscores."""
    found = _NO_WORD.sub("_", name.casefold()).strip("_")
    if not found:
        raise ValueError(f"{name!r} is no name")
    return found


def one_line(text: str) -> str:
    return " ".join(text.split())


_Filled = StringConstraints(min_length=1)
Text = Annotated[str, AfterValidator(one_line), _Filled]
Name = Annotated[str, AfterValidator(snake)]
"""Without rules that a schema would show: as the key of an object they make llama.cpp decode without any constraint."""
Value = Annotated[str, AfterValidator(one_line), _Filled]


class ProfileAnswer(BaseModel):
    """A name and a portrait."""

    name: Annotated[Text, StringConstraints(max_length=80)]
    profile: Text


class RequiredInfo(BaseModel):
    """A variable that a question depends on, with its values in order."""

    info_type: Name
    info_choices: list[Value]


class QuestionDraft(BaseModel):
    """A request for advice."""

    question: Text
    required_info: list[RequiredInfo]


class QuestionsAnswer(BaseModel):
    """The questions."""

    questions: list[QuestionDraft]


class MergedAnswer(BaseModel):
    """The name that stays to the names that it stands for."""

    merged: dict[Name, list[Name]]


class ValuesAnswer(BaseModel):
    """One list of values for each variable."""

    values: dict[Name, list[Value]]


class StateAnswer(BaseModel):
    """The initial state."""

    state: dict[Name, Value]


class UpdateAnswer(BaseModel):
    """What changes in a period."""

    period_summary: Text
    updated: dict[Name, Value]


class EventDraft(BaseModel):
    """What brought some changes about."""

    states: Annotated[list[Name], Field(min_length=1)]
    event: Text


class EventsAnswer(BaseModel):
    """What brought the changes of a period about."""

    events: list[EventDraft]


class Hint(BaseModel):
    """A value that an event lets one guess."""

    event: int
    variable: Name
    value: Value


class HintsAnswer(BaseModel):
    """The check of events."""

    hints: list[Hint]


class OptionsAnswer(BaseModel):
    """Answer options, `variant_1`, ... to a text."""

    answers: dict[str, Text]


class ChoiceAnswer(BaseModel):
    """The variant that a reader takes an option for."""

    variant: int


class SessionQueryDraft(BaseModel):
    """A first utterance with what it gives away."""

    exposed_states: dict[Name, Value]
    query: Text


class InitialQueriesAnswer(BaseModel):
    """The first utterances of the start."""

    queries: list[SessionQueryDraft]


class QueriesAnswer(BaseModel):
    """The first utterances of a period, one an event, in order."""

    queries: list[Text]


class ExposureAnswer(BaseModel):
    """What a reader makes of an utterance: variables that a text gives away, with the value of each."""

    told: dict[Name, Value]


class TextAnswer(BaseModel):
    """A text written anew."""

    text: Text
