"""The option that a reply picks, or the values that it names, read as a person would read them.

An object with `answer` in a fence or in running text, numbers as digits, integral floats or strings, and a bare number are
answers; booleans and numbers outside 1 to n are none. (The released evaluator takes less, and draws an option for the rest.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

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
    """A number from 1 to `options` as an option; any other is none."""
    return ParsedReply(number - 1) if 1 <= number <= options else ParsedReply(None, "out_of_range")


def parse_values(text: str, *, variables: Sequence[str]) -> dict[str, object]:
    """What the reply to a probe says of these variables; those that it does not name are absent."""
    for value in _values(text):
        if isinstance(value, dict) and (named := {name: value[name] for name in variables if name in value}):
            return named
    return {}


def _values(text: str) -> Iterator[object]:
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


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def number_of(value: object) -> int | None:
    """The whole number that a JSON value is or holds as `answer`; None for any other."""
    if isinstance(value, dict):
        inner = value.get("answer")
        return None if isinstance(inner, dict) else number_of(inner)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if _DIGITS.fullmatch(text) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
