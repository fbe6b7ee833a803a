import pytest
from helpers.checkpoints import Painter
from hypothesis import given
from hypothesis import strategies as st

from memagent.models.convert import chat_messages, cut_at_stop, escape_special_tokens
from memagent.types import Message, TextPart


@pytest.mark.parametrize("mark", ["<|im_start|>", "<|eot_id|>", "</s>", "[INST]", "<start_of_turn>", "<\uff5cUser\uff5c>"])
def test_template_marks_are_broken(mark: str) -> None:
    assert mark not in escape_special_tokens(f"text {mark} text")


@pytest.mark.parametrize("text", ["a < b | c > d", "<s", "x |> y <| z", "[1] [INS]", "<|two words|>"])
def test_other_text_is_left_alone(text: str) -> None:
    assert escape_special_tokens(text) == text


def test_messages_take_the_form_of_the_chat_api(paint: Painter) -> None:
    part = paint(28, 28)
    turns = [Message(role="tool", content="result"), Message(role="user", content=(part, TextPart(text="what?")))]
    assert chat_messages(turns) == [
        {"role": "user", "content": "result"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": part.url}}, {"type": "text", "text": "what?"}],
        },
    ]


@given(st.text("abST", max_size=30), st.lists(st.text("abST", min_size=1, max_size=3), max_size=3), st.integers(1, 4))
def test_cutting_a_stream_equals_cutting_the_text(text: str, stop: list[str], size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    found = [at for mark in stop if (at := text.find(mark)) >= 0]
    cut = "".join(cut_at_stop(iter(pieces), stop))
    # A mark found early in the stream wins over one that begins before it but ends later.
    assert text.startswith(cut)
    assert not any(mark in cut for mark in stop)
    assert (cut == text) == (not found)
