"""JSON in an answer is found wherever models put it."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from memagent.models.base import parse_json


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
