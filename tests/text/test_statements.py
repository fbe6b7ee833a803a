"""What a message tells, by rules."""

from __future__ import annotations

import pytest

from memagent.text import statements


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What is my name?", True),
        ("Tell me a story", True),
        ("My name is Ada.", False),
        ("Is it?", True),
        ("Whatever.", False),
        ("whats my name", True),
        ("when is my shift", True),
        ("When I was six we moved to Cork.", False),
        ("Where my mum lives it rains a lot.", False),
        ("Will is my brother.", False),
        ("will it rain", True),
    ],
)
def test_questions_and_requests_ask(text: str, asks: bool) -> None:
    assert statements.asks(text) is asks


def test_questions_greetings_and_asides_tell_nothing() -> None:
    said = ["Hi there!", "Nice.", "My dog is called Biscuit.", "How are you?", "元気ですか？"]
    assert list(filter(statements.tells, said)) == ["My dog is called Biscuit."]
    assert statements.tells("Hi, I'm Ottilie!"), "an introduction is more than a greeting"
    assert statements.tells("hey its jaz", alone=True)
    assert statements.tells("Soup please.", alone=True), "one short sentence may answer a question"
    assert not statements.tells("Soup please.")
