"""Asking for JSON: what is rejected goes back with the reason, tries are bounded, and every call is counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import BaseModel, Field

from memagent.errors import InputError, MalformedOutput, ModelError
from memagent.models.base import Request
from memagent.models.fake import Fake, GarbageModel
from memagent.models.structured import InvalidAnswer, UsageCounter, ask_json
from memagent.types import user_message


class Number(BaseModel):
    number: int = Field(ge=1)


class Says(Fake):
    """Says one text after the other and keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        super().__init__("says")
        self._texts = list(texts)
        self.heard: list[Request] = []

    def _say(self, request: Request) -> str:
        self.heard.append(request)
        return self._texts.pop(0)


def _even(answer: Number) -> None:
    if answer.number % 2:
        raise InvalidAnswer(f"{answer.number} is odd")


def test_a_good_answer_costs_one_call() -> None:
    model, tally = Says('{"number": 4}'), UsageCounter()
    assert ask_json(model, [user_message("a number?")], Number, check=_even, temperature=0.5, seed=7, tally=tally).number == 4
    assert (tally.usage.calls, tally.retries) == (1, 0)
    assert [(one.seed, one.temperature, one.schema) for one in model.heard] == [(7, 0.5, Number)]


def test_a_rejected_answer_goes_back_with_the_reason_and_another_seed() -> None:
    model, tally = Says('{"number": 3}', '{"number": 0}', "x", "```json\n{}\n```", '{"number": 8}'), UsageCounter()
    assert ask_json(model, [user_message("a number?")], Number, check=_even, seed=10, tally=tally).number == 8
    assert [one.seed for one in model.heard] == [10, 11, 12, 13, 14]
    assert (tally.usage.calls, tally.retries) == (5, 4)
    first, *_, last = model.heard[1:]
    assert [message.role for message in first.messages] == ["user", "assistant", "user"]
    assert first.messages[1].text == '{"number": 3}'
    assert "3 is odd" in first.messages[2].text
    assert len(last.messages) == 3
    assert "number: Field required" in last.messages[2].text
    assert tally.usage.text_in > 5 * len("a number?") / 4
    assert tally.usage.text_out > 0


def test_tries_are_bounded_and_the_last_reason_is_told() -> None:
    model, tally = Says(*['{"number": 1}'] * 3), UsageCounter()
    with pytest.raises(MalformedOutput, match="no usable `Number` in 3 tries; the last: 1 is odd") as caught:
        ask_json(model, [user_message("a number?")], Number, check=_even, tries=3, tally=tally)
    assert caught.value.output == '{"number": 1}'
    assert (len(model.heard), tally.usage.calls, tally.retries) == (3, 3, 2)
    with pytest.raises(MalformedOutput, match="Invalid JSON"):
        ask_json(GarbageModel(), [user_message("a number?")], Number)
    with pytest.raises(InputError, match="1 or more"):
        ask_json(model, [user_message("a number?")], Number, tries=0)


def test_an_empty_or_cut_answer_is_told_as_such() -> None:
    model = Says("", '{"number": 4444444444444444444}', '{"number": 2}')
    assert ask_json(model, [user_message("a number?")], Number, max_tokens=12).number == 2
    assert model.heard[1].messages[1].text == "(nothing)"
    assert "make it shorter" in model.heard[2].messages[2].text


def test_what_the_engine_or_the_check_raises_goes_through() -> None:
    class Broken(Says):
        def _say(self, request: Request) -> str:
            raise ModelError("no connection")

    def wrong(answer: Number) -> None:
        raise KeyError(answer.number)

    with pytest.raises(ModelError, match="no connection"):
        ask_json(Broken(), [user_message("a number?")], Number)
    with pytest.raises(KeyError):
        ask_json(Says('{"number": 2}'), [user_message("a number?")], Number, check=wrong)


def test_a_tally_counts_calls_of_many_threads() -> None:
    tally, model = UsageCounter(), Says(*['{"number": 2}'] * 200)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ask_json(model, [user_message("a number?")], Number, tally=tally), range(200)))
    assert tally.usage.calls == 200
