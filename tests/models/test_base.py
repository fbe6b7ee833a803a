"""Calls that cannot be made are refused; JSON in an answer is found wherever models put it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from memagent.errors import InputError, MalformedOutput
from memagent.models.base import parse_json
from memagent.models.fake import FakeModel
from memagent.types import user_message


class Number(BaseModel):
    number: int


@pytest.mark.parametrize(
    "text",
    [
        '{"number": 5}',
        '```json\n{"number": 5}\n```',
        '```\n{"number": 5}```',
        'Here it is:\n```json\n{"number": 5}\n```\nAnything else?',
        '<think>{"number": 1}?</think>\n{"number": 5}',
    ],
)
def test_json_is_found_in_fences_and_after_thoughts(text: str) -> None:
    assert parse_json(text, Number).number == 5


def test_marks_within_json_are_text() -> None:
    class Said(BaseModel):
        text: str

    for said in ("a </think> b", "```json\n{}\n```"):
        assert parse_json(json.dumps({"text": said}), Said).text == said
        assert parse_json(f"```json\n{json.dumps({'text': said})}\n```", Said).text == said


@pytest.mark.parametrize(
    ("messages", "options", "said"),
    [
        ([], {}, "not none"),
        ("hi", {}, "not 'h'"),
        ([{"role": "user"}], {}, "one message or more"),
        ([user_message("x")], {"max_tokens": 0}, "max_tokens"),
        ([user_message("x")], {"max_tokens": "9"}, "max_tokens"),
        ([user_message("x")], {"timeout": 0}, "timeout"),
        ([user_message("x")], {"timeout": float("inf")}, "timeout"),
        ([user_message("x")], {"timeout": float("nan")}, "timeout"),
        ([user_message("x")], {"timeout": "soon"}, "timeout"),
    ],
)
def test_a_call_that_cannot_be_made_is_refused_before_it_is(messages: Any, options: Any, said: str) -> None:
    model = FakeModel("x")
    with pytest.raises(InputError, match=said):
        model.generate(messages, **options)
    with pytest.raises(InputError, match=said):
        asyncio.run(model.agenerate(messages, **options))


class Dog(BaseModel):
    """What is asked for below."""

    name: str


def test_an_answer_of_another_form_is_whole_and_no_partial_one() -> None:
    model = FakeModel("<think>hm</think>no JSON")
    with pytest.raises(MalformedOutput) as sync:
        model.generate([user_message("x")], schema=Dog)
    with pytest.raises(MalformedOutput) as awaited:
        asyncio.run(model.agenerate([user_message("x")], schema=Dog))
    for one in (sync.value, awaited.value):
        assert (one.output, one.partial) == ("no JSON", "")
