"""The JSON object of a chat has the same fields whether an answer came or an error."""

from __future__ import annotations

from invocations import checked

from memagent.agent import Answer
from memagent.cli import json_output
from memagent.errors import ModelError


def test_answers_and_errors_have_the_same_fields() -> None:
    answer = Answer(text="hi", session="s", model="fake", recall=None)
    assert checked(json_output.of_answer(answer, session="s"))["error"] is None
    failed = checked(json_output.of_error(ModelError("down", retryable=True), session="s", model="fake"))
    assert failed["error"] == {"code": "model", "message": "down", "retryable": True}
    assert checked(json_output.of_error(KeyError("x")))["error"]["code"] == "unexpected"
