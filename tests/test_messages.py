"""What callers hand in becomes messages, or one error that says what was seen and what is taken."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import InputError
from memagent.messages import as_image, as_messages, user_turn
from memagent.types import ImagePart, Message, TextPart

PNG = b"\x89PNG\r\n\x1a\n picture"
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("hi", [("user", "hi")]),
        (Message(role="tool", content="42"), [("tool", "42")]),
        ({"role": "assistant", "content": "hi"}, [("assistant", "hi")]),
        ({"role": "developer", "content": "be brief"}, [("system", "be brief")]),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]}, [("user", "a\nb")]),
        ({"role": "assistant", "content": "hi", "tool_calls": None, "refusal": None, "annotations": []}, [("assistant", "hi")]),
        ({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}, [("assistant", "hi")]),
        (
            ["hi", {"role": "assistant", "content": "ho"}, Message(role="user", content="hu")],
            [("user", "hi"), ("assistant", "ho"), ("user", "hu")],
        ),
        ((text for text in ("one", "two")), [("user", "one"), ("user", "two")]),
        ([], []),
    ],
)
def test_strings_messages_dicts_and_lists_of_them_are_messages(given: Any, expected: list[tuple[str, str]]) -> None:
    assert [(message.role, message.content) for message in as_messages(given)] == expected


def test_a_dict_may_bring_id_time_and_speaker() -> None:
    time = datetime(2026, 5, 2, 8, tzinfo=UTC)
    given = {"role": "user", "content": "hi", "id": "x1", "time": time.isoformat(), "name": "Ada"}
    assert as_messages(given) == [Message(role="user", content="hi", id="x1", time=time, speaker="Ada")]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": DATA_URL}},
        {"type": "image_url", "image_url": DATA_URL},
        {"type": "input_image", "image_url": DATA_URL},
        ImagePart(data=PNG).model_dump(mode="json"),
        ImagePart(data=PNG),
    ],
)
def test_pictures_come_by_value(part: object) -> None:
    (message,) = as_messages({"role": "user", "content": [part, "what is this?"]})
    assert message.content == (ImagePart(data=PNG), TextPart(text="what is this?"))


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (None, "not NoneType"),
        (7, "not int"),
        (b"hi", "not bytes"),
        ([7], "not int in a list"),
        ([["hi"]], "not list in a list"),
        ({"content": "hi"}, "role .* not None"),
        ({"role": "bot", "content": "hi"}, "not 'bot'"),
        ({"role": "user"}, "content .* not NoneType"),
        ({"role": "user", "content": [{"type": "txt", "text": "hi"}]}, "'txt'"),
        ({"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}, "`tool_calls`"),
        ({"role": "user", "content": "hi", "time": "2026-05-02T08:00:00"}, "time zone"),
    ],
)
def test_anything_else_is_refused_by_name(given: Any, seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        as_messages(given)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
            "[picture left out: https://example.org/cat.png]",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/gif;base64,AA=="}},
            "[picture left out: data:image/gif;base64]",
        ),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}, "[picture left out: data:image/png;base64]"),
        ({"type": "input_image", "file_id": "file-7"}, "[picture left out: file-7]"),
        ({"type": "image_url"}, "[picture left out: of another form]"),
        ({"type": "input_audio", "input_audio": {"data": "AA=="}}, "[input_audio left out]"),
        ({"type": "file", "file": {"file_id": "f"}}, "[file left out]"),
        ({"type": "refusal", "refusal": "I cannot."}, "I cannot."),
    ],
)
def test_a_part_that_cannot_be_held_is_named_beside_the_text(part: dict[str, Any], named: str) -> None:
    (message,) = as_messages({"role": "user", "content": [{"type": "text", "text": "see"}, part]})
    assert message.content == f"see\n{named}"


def test_a_picture_by_value_in_the_form_of_another_api_is_kept() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    (message,) = as_messages({"role": "user", "content": [{"type": "image", "source": source}]})
    assert message.images == (ImagePart(data=PNG),)


@pytest.mark.parametrize("given", ["\ufeffhello", {"role": "user", "content": [{"type": "text", "text": "\ufeffhello"}]}])
def test_a_byte_order_mark_is_no_part_of_a_message(given: Any) -> None:
    assert as_messages(given)[0].text == "hello"


def test_pictures_of_a_turn_are_parts_bytes_or_paths(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff cat")
    turn = user_turn("what is this?", [PNG, tmp_path / "cat.jpg", str(tmp_path / "cat.jpg"), ImagePart(data=PNG)])
    assert [part.media_type for part in turn.images] == ["image/png", "image/jpeg", "image/jpeg", "image/png"]
    assert turn.text == "what is this?"
    assert user_turn(turn, [PNG]).images == (ImagePart(data=PNG), *turn.images)


@pytest.mark.parametrize(("given", "seen"), [(b"GIF89a", "no PNG"), ("nowhere.png", "nowhere.png"), (7, "not int")])
def test_what_is_no_picture_is_refused(given: Any, seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        as_image(given)


@pytest.mark.parametrize("images", [PNG, "cat.png", Path("cat.png"), ImagePart(data=PNG)])
def test_one_picture_outside_a_list_is_refused(images: Any) -> None:
    with pytest.raises(InputError, match="list"):
        user_turn("what is this?", images)


def test_a_turn_is_said_by_the_user() -> None:
    with pytest.raises(InputError, match="'assistant'"):
        user_turn({"role": "assistant", "content": "hi"})
