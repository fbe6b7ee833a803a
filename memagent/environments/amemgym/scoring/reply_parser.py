"""The option that a reply picks, or the values that it names.

Two ways to read one. `parse_reply`, the default, takes what a person would take for an answer: an object with `answer` in a
fence or in running text, numbers as digits, integral floats or strings, a bare number. It refuses booleans and numbers
outside 1 to n. `parse_official` takes exactly what the released evaluator takes: `json.loads` of the first fence tagged
`json`, else of the whole reply, whose `answer` indexes a Python list; so 0 and negatives count from the end and `true` is 1,
while strings, floats, bare numbers, untagged fences and prose are errors. What it refuses, it answers by
`randint(1, n)` of a generator seeded with 42 once, in the order in which questions are scored. `parse_values` reads the
replies to probes in the same two ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

OFFICIAL_SEED = 42
_TAGGED = re.compile(r"```json(.*?)```", re.DOTALL)
_FENCED = re.compile(r"```(?:[\w-]*\s)?(.*?)```", re.DOTALL)
_DIGITS = re.compile(r"[0-9]{1,9}")
_OBJECTS = 100
"""Braces in running text at which an object is looked for."""

Problem = Literal["unreadable", "out_of_range"]


@dataclass(frozen=True)
class ParsedReply:
    """What a reply says: an option, or why it is none."""

    option: int | None
    """0-based; None when there is a problem."""
    problem: Problem | None = None


def parse_reply(text: str, *, options: int) -> ParsedReply:
    """The option that a reply picks, read generously; the first number found counts."""
    for value in _values(text):
        number = number_of(value)
        if number is not None:
            return in_range(number, options=options)
    return ParsedReply(None, "unreadable")


def in_range(number: int, *, options: int) -> ParsedReply:
    """The option of a 1-based number."""
    return ParsedReply(number - 1) if 1 <= number <= options else ParsedReply(None, "out_of_range")


def parse_official(text: str, *, options: int) -> ParsedReply:
    """The option that the released evaluator would take."""
    value = _official_value(text)
    return official_option(value.get("answer") if isinstance(value, dict) else None, options=options)


def official_option(number: object, *, options: int) -> ParsedReply:
    """The option of a number as the released evaluator indexes its list."""
    if not isinstance(number, int):  # a bool is one, there as here
        return ParsedReply(None, "unreadable")
    return ParsedReply((number - 1) % options) if 1 - options <= number <= options else ParsedReply(None, "out_of_range")


def parse_values(text: str, *, variables: Sequence[str], compat: bool = False) -> dict[str, object]:
    """What the reply to a probe says of these variables; those that it does not name are absent."""
    values: Iterable[object] = (_official_value(text),) if compat else _values(text)
    for value in values:
        if isinstance(value, dict) and (named := {name: value[name] for name in variables if name in value}):
            return named
    return {}


def official_draws() -> Random:
    """The generator of the released evaluator's fallback, as it stands before the first question."""
    return Random(OFFICIAL_SEED)


def official_draw(generator: Random, *, options: int) -> int:
    """The 0-based option that stands in for a reply without one."""
    return generator.randint(1, options) - 1


def _values(text: str) -> Iterator[object]:
    """The JSON values of a reply, the likeliest first."""
    for pattern in (_TAGGED, _FENCED):
        if found := pattern.search(text):
            yield _loads(found.group(1).strip())
    yield _loads(text.strip())
    decoder = json.JSONDecoder()
    for place, _ in zip(re.finditer(r"\{", text), range(_OBJECTS), strict=False):
        try:
            yield decoder.raw_decode(text, place.start())[0]
        except (ValueError, RecursionError):
            continue


def _official_value(text: str) -> object:
    """The JSON value that the released evaluator reads; None where it reads none."""
    found = _TAGGED.search(text)
    return _loads(found.group(1).strip() if found else text)


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def number_of(value: object) -> int | None:
    """The number that a JSON value says, if it says one."""
    if isinstance(value, dict):
        inner = value.get("answer")
        return None if isinstance(inner, dict) else number_of(inner)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if _DIGITS.fullmatch(text) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
