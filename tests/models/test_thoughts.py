"""Thoughts between tags are kept apart from the answer, in whatever pieces they come."""

from __future__ import annotations

import pytest

from memagent.errors import ModelError
from memagent.models.fake import FakeModel
from memagent.models.thoughts import ThoughtSplitter
from memagent.types import user_message


def split(text: str, size: int) -> tuple[str, str]:
    splitter = ThoughtSplitter()
    answer = "".join(splitter.feed(text[at : at + size]) for at in range(0, len(text), size)) + splitter.end()
    return splitter.thoughts.strip(), answer


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>hm</think>\n\nHello", "hm", "Hello"),
        ("  \n<THINKING>a < b </thinks </Thinking> Salut", "a < b </thinks", "Salut"),
        ("<think>\n\n</think>\n\nHello", "", "Hello"),
        ("<think>one</think>\n<think>two</think>three", "one\ntwo", "three"),
        ("[THINK]こう[/THINK]はい", "こう", "はい"),
        ("◁think▷İİ◁/think▷да", "İİ", "да"),
        ("<think>never closed", "never closed", ""),
        ("  indented", "", "  indented"),
        ("<thin ice", "", "<thin ice"),
        ("Use <think>x</think> tags", "", "Use <think>x</think> tags"),
        ("", "", ""),
    ],
)
def test_only_tags_at_the_start_of_an_answer_are_thoughts(text: str, thoughts: str, answer: str, size: int) -> None:
    assert split(text, size) == (thoughts, answer)


@pytest.mark.parametrize(
    ("said", "reasoning", "text"),
    [
        ("Let me see.\n</think>\n\nLyon.", "Let me see.", "Lyon."),
        ("The tag is\n<think>\nx\n</think>\nas you see.", "", "The tag is\n<think>\nx\n</think>\nas you see."),
        ("Close it with </think> in the line.", "", "Close it with </think> in the line."),
    ],
)
def test_a_closing_tag_alone_on_its_line_ends_thoughts_that_the_template_began(said: str, reasoning: str, text: str) -> None:
    reply = FakeModel(said).generate([user_message("hi")])
    assert (reply.reasoning, reply.text) == (reasoning, text)


def test_a_model_that_only_thinks_fails_and_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="larger `max_tokens`"):
        FakeModel("<think>one two three").generate([user_message("hi")])
