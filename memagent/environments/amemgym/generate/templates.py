"""The bank: life domains with their state variables, and all the words that procedural users say about them.

It is data, in `bank/*.toml`, loaded at first use. A domain has `questions` (phrasings of one request for advice that
depends on all its variables) and variables; `for = "working"` keeps it from people who have no job. A variable has three
ordered `values` and, for each of them, `cues` and an `advice`; besides `frames` and four lists of events.

- A cue is a clause in the first person, without its final dot, that gives the value away without naming it.
- A frame is a request that says nothing of any value; `{a|b}` stands for either.
- An event is a verb phrase in the past tense that says why a value came about, wherever it came from: `to_first`,
  `to_last`, and `rise` and `fall` for the middle value. "I ..." and "Ines ..." both go with it, so it has no possessives.
- An advice is a sentence that suits a value and does not name it; an answer option is made of advices.

The words of the bank must never reach a memory: no module of `memagent.memory` may import this package.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Words = tuple[str, ...]
_PROFILES = "profiles.toml"
_CHOICE = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

_LAST = 2
"""Index of the last value."""


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text as they are compared: without case and punctuation."""
    return tuple(_WORD.findall(text.casefold().replace("’", "'")))


def phrasings(frame: str) -> tuple[str, ...]:
    """What a frame can read like, with each `{a|b}` decided."""
    found = _CHOICE.search(frame)
    if found is None:
        return (frame,)
    options = found.group(1).split("|")
    return tuple(one for option in options for one in phrasings(frame[: found.start()] + option + frame[found.end() :]))


class Variable(BaseModel):
    """One property of a user's life that changes now and then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[str, str, str]
    """In order: a step goes to a neighbour."""
    frames: Annotated[_Words, Field(min_length=4)]
    cues: tuple[_Words, _Words, _Words]
    advice: tuple[str, str, str]
    to_first: Annotated[_Words, Field(min_length=1)]
    rise: Annotated[_Words, Field(min_length=1)]
    fall: Annotated[_Words, Field(min_length=1)]
    to_last: Annotated[_Words, Field(min_length=1)]

    def cues_of(self, value: str) -> _Words:
        return self.cues[self.values.index(value)]

    def advice_for(self, value: str) -> str:
        return self.advice[self.values.index(value)]

    def events(self, old: str, new: str) -> _Words:
        before, after = self.values.index(old), self.values.index(new)
        if after == 0:
            return self.to_first
        if after == _LAST:
            return self.to_last
        return self.rise if before < after else self.fall

    def all_events(self) -> _Words:
        return (*self.to_first, *self.rise, *self.fall, *self.to_last)

    @model_validator(mode="after")
    def _complete(self) -> Variable:
        for value, cues in zip(self.values, self.cues, strict=True):
            if len(cues) < 4:
                raise ValueError(f"{value} has {len(cues)} cues, 4 are needed")
        return self


class Domain(BaseModel):
    """A part of life: variables that are asked for, told and changed together."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str
    open_to: Literal["all", "working"] = Field(default="all", alias="for")
    questions: Annotated[_Words, Field(min_length=2)]
    variables: Annotated[dict[str, Variable], Field(min_length=2, max_length=3)]


class TemplateBank(BaseModel):
    """All domains, checked: names and phrases belong to one variable each, and no text names a value."""

    model_config = ConfigDict(frozen=True)

    domains: tuple[Domain, ...]

    @cached_property
    def variables(self) -> Mapping[str, Variable]:
        return {name: variable for domain in self.domains for name, variable in domain.variables.items()}

    def texts(self) -> Iterator[tuple[str, str]]:
        for name, variable in self.variables.items():
            cues = [cue for cues in variable.cues for cue in cues]
            frames = [one for frame in variable.frames for one in phrasings(frame)]
            for text in (*cues, *variable.all_events(), *frames, *variable.advice):
                yield name, text

    @model_validator(mode="after")
    def _sound(self) -> TemplateBank:
        names = Counter(name for domain in self.domains for name in domain.variables)
        values = Counter(value for variable in self.variables.values() for value in variable.values)
        phrases = Counter(words_of(text) for _, text in self.texts())
        for what, counts in (("variable", names), ("value", values), ("phrase", phrases)):
            if twice := [one for one, times in counts.items() if times > 1]:
                raise ValueError(f"the {what} {twice[0]!r} occurs more than once")
        named = {words_of(value.replace("_", " ")) for value in values}
        sizes = {len(value) for value in named}
        for variable, text in self.texts():
            words = words_of(text)
            runs = {words[at : at + size] for size in sizes for at in range(len(words) - size + 1)}
            if given := runs & named:
                raise ValueError(f"a text of {variable!r} names the value {'_'.join(min(given))!r}: {text!r}")
        return self


@lru_cache(maxsize=1)
def load_bank() -> TemplateBank:
    """The bank of this package, read once and checked."""
    folder = resources.files(__package__) / "bank"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    domains = [one for file in files if file.name != _PROFILES for one in tomllib.loads(file.read_text("utf-8"))["domain"]]
    return TemplateBank.model_validate({"domains": domains})


@lru_cache(maxsize=1)
def load_profile_words() -> Mapping[str, Any]:
    return tomllib.loads((resources.files(__package__) / "bank" / _PROFILES).read_text("utf-8"))
