"""Samples of a file of JSON: one list, an object with the list in `Data`, or one object a line.

What is taken out of a sample is checked there and then, so that an error names file, place, field, what stands in it and what
is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memagent.errors import InputError

_SHOWN = 60
"""Characters of a wrong value that an error shows."""


@dataclass(frozen=True)
class Sample:
    """An object of a file, or an object within it."""

    place: str
    """File, and line or item, as errors name it."""
    fields: Mapping[str, Any]
    path: str = ""
    """Names of the fields that lead to it, with a dot behind each."""

    def has(self, *names: str) -> bool:
        """Whether all of these fields are there and not null."""
        return all(self.fields.get(name) is not None for name in names)

    def text(self, name: str) -> str:
        """A field that is a text, or a number as a text."""
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.wrong(name, "a text")
        return str(value)

    def number(self, name: str) -> int:
        """A field that is a whole number."""
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def values(self, name: str) -> list[Any]:
        """A field that is a list."""
        value = self.fields.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A field that is a list of texts or numbers."""
        return texts_of(self, name, self.values(name))

    def inside(self, name: str) -> Sample:
        """A field that is an object."""
        value = self.fields.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Sample(self.place, value, f"{self.path}{name}.")

    def each(self, name: str) -> list[Sample]:
        """A field that is a list of objects."""
        values = self.values(name)
        if not all(isinstance(one, dict) for one in values):
            raise self.wrong(name, "a list of objects")
        return [Sample(self.place, one, f"{self.path}{name}[{number}].") for number, one in enumerate(values)]

    def wrong(self, name: str, needed: str) -> InputError:
        """The error for a field that is not what is needed."""
        if name not in self.fields:
            keys = ", ".join(map(str, self.fields)) or "none"
            return InputError(f"{self.place}: `{self.path}{name}` is missing, {needed} is needed; its fields are: {keys}")
        seen = json.dumps(self.fields[name], ensure_ascii=False, default=str)
        seen = seen if len(seen) <= _SHOWN else f"{seen[:_SHOWN]}..."
        return InputError(f"{self.place}: `{self.path}{name}` is {seen}; {needed} is needed")


def texts_of(sample: Sample, name: str, values: Any) -> tuple[str, ...]:
    """Texts out of a value that stands in the field `name` of a sample."""
    if not isinstance(values, list) or not all(isinstance(one, str | int | float) for one in values):
        raise sample.wrong(name, "a list of texts")
    return tuple(map(str, values))


def read_text(path: Path) -> str:
    """What a file says. Raises `InputError`."""
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 at byte {error.start}; unpack a packed file first") from error


def samples_of(text: str, name: str) -> list[Sample]:
    """The samples of a file called `name`. Raises `InputError` where it is not JSON, or a sample is no object."""
    whole = None
    with suppress(ValueError, RecursionError):
        whole = json.loads(text)
    if isinstance(whole, dict) and isinstance(whole.get("Data"), list):
        whole = whole["Data"]
    if isinstance(whole, list):
        return [_sample(value, f"{name}, item {number}") for number, value in enumerate(whole, 1)]
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{name}, line {number}"
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{place} is no JSON: {error}; give one JSON list, or one JSON object a line") from error
            found.append(_sample(value, place))
    return found


def _sample(value: Any, place: str) -> Sample:
    if not isinstance(value, dict):
        raise InputError(f"{place} is of type `{type(value).__name__}`; each question is an object")
    return Sample(place, value)
