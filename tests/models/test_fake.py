import time

import pytest
from helpers.checkpoints import Painter
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from memagent.errors import InputError, MalformedOutput, ModelError
from memagent.memory.memocr.loops import drafting_prompt
from memagent.models.fake import FakeModel, GarbageModel, count_pieces, pieces_of
from memagent.types import ImagePart, Message, user_message

MEMORY = """<memory>
[2026-01-02] user: My dog is called Biscuit and I live in Lyon.
[2026-01-03] user: My sister Hannah plays the cello.
</memory>
"""


class Change(BaseModel):
    op: str = Field(min_length=2)
    weight: int = Field(gt=3)
    tags: list[str] = Field(min_length=1)
    reason: str | None = None


class Changes(BaseModel):
    changes: list[Change] = Field(min_length=1)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is my dog called?", "My dog is called Biscuit and I live in Lyon."),
        ("Question: who plays the cello", "My sister Hannah plays the cello."),
        ("Which car do I drive?", "I do not know."),
        ("I bought a car.", "Noted."),
    ],
)
def test_fake_answers_with_the_memory_line_that_shares_most_words(question: str, answer: str) -> None:
    assert FakeModel().generate([user_message(MEMORY + question)]).text == answer


def test_fake_follows_the_prompts_of_the_paper() -> None:
    section = "Document 1:\nBiscuit\nBiscuit is a beagle from Lyon."
    drafted = FakeModel().generate([user_message(drafting_prompt("Where is the beagle Biscuit from?", section, ""))])
    assert drafted.text == "Biscuit is a beagle from Lyon."
    reading = f"<problem>\nWho plays the cello?\n</problem>\n\n{MEMORY}\nPut the answer in \\boxed{{}}."
    assert FakeModel().generate([user_message(reading)]).text == "\\boxed{My sister Hannah plays the cello.}"


def test_fake_finds_earlier_turns_when_there_is_no_memory_block() -> None:
    turns = [user_message("My cat is Pixel."), Message(role="assistant", content="Noted."), user_message("What is my cat?")]
    assert FakeModel().generate(turns).text == "My cat is Pixel."


@given(st.text())
def test_pieces_join_to_the_text_they_came_from(text: str) -> None:
    assert "".join(pieces_of(text)) == text


def test_usage_counts_what_was_read_and_written(paint: Painter) -> None:
    model = FakeModel("one two three", sees_images=True)
    reply = model.generate([user_message("hello there", paint(56, 84))])
    assert reply.usage.text_in == count_pieces("hello there")
    assert reply.usage.text_out == 4
    assert reply.usage.visual == model.reader.image_cost(56, 84) == 6
    assert reply.usage.calls == 1


def test_length_and_stop_texts_end_an_answer() -> None:
    model = FakeModel("alpha beta STOP gamma")
    assert model.generate([user_message("x")], stop=["STOP"]).text == "alpha beta "
    cut = model.generate([user_message("x")], max_tokens=2)
    assert (cut.text, cut.stop_reason) == ("alpha", "length")


def test_pieces_are_paced_and_a_timeout_is_an_error() -> None:
    model = FakeModel("a b c d", chunk_delay=0.02)
    start = time.perf_counter()
    assert list(model.stream([user_message("x")])) == ["a", " b", " c", " d"]
    assert time.perf_counter() - start > 0.06
    with pytest.raises(ModelError, match="did not finish"):
        model.generate([user_message("x")], timeout=0.01)


def test_fake_gives_minimal_valid_json_under_a_schema() -> None:
    reply = FakeModel().generate([user_message("x")], schema=Changes)
    assert reply.parsed == Changes(changes=[Change(op="xx", weight=4, tags=[""])])


def test_a_schema_with_a_pattern_is_refused_with_advice() -> None:
    class Coded(BaseModel):
        code: str = Field(pattern="^[A-Z]{3}$")

    with pytest.raises(InputError, match="ScriptedModel"):
        FakeModel().generate([user_message("x")], schema=Coded)


def test_garbage_never_fits_a_schema() -> None:
    assert GarbageModel().generate([user_message("x")]).text == GarbageModel.text
    with pytest.raises(MalformedOutput) as caught:
        GarbageModel().generate([user_message("x")], schema=Changes)
    assert caught.value.output == GarbageModel.text


def test_pictures_are_refused_by_a_model_that_cannot_see_and_broken_ones_by_all(paint: Painter) -> None:
    with pytest.raises(InputError, match="cannot see"):
        FakeModel().generate([user_message("x", paint(56, 56))])
    with pytest.raises(InputError, match="not a readable image/png"):
        FakeModel("y", sees_images=True).generate([user_message("x", ImagePart(data=b"no picture"))])
