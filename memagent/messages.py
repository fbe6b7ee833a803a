"""What callers hand in, as messages: strings, `Message`s, and the dicts that OpenAI-style APIs use.

A dict has `role` and `content`; the content is a text or a list of parts (`text`, `input_text`, `output_text`, `image_url`,
`input_image`, and our own `image`). Pictures come by value, as data URLs: reading a message touches no network. A part of
another kind, or a picture elsewhere, leaves its name in the text; what else cannot be stored is refused by name. So nothing of
a conversation vanishes silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from memagent.errors import InputError
from memagent.types import ImagePart, Message, Part, Role, TextPart

MessageLike = str | Message | Mapping[str, object]
"""One message: a text that the user says, a `Message`, or a dict such as {"role": "user", "content": "hi"}."""
Messages = MessageLike | Iterable[MessageLike]
ImageLike = ImagePart | bytes | Path | str
"""A picture: a part, the bytes of a PNG, JPEG or WebP file, or its path."""

_SHAPES = 'a string, a Message, a dict such as {"role": "user", "content": "hi"}, or a list of these'
_FIELDS = ("role", "content", "time", "id", "speaker")
_UNKEPT = ("type", "tool_call_id")
"""Keys of a dict that say nothing about its text."""
_TEXTS = ("text", "input_text", "output_text")
_IMAGES = ("image_url", "input_image", "image")
_UNHELD = ("input_audio", "audio", "input_file", "file", "document", "video", "video_url", "input_video", "refusal", "thinking")
"""Parts that a memory does not hold."""
_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


def as_messages(given: Messages) -> list[Message]:
    """The messages that a caller means. Raises `InputError` for anything else, naming what was seen."""
    if isinstance(given, str | Message | Mapping):
        return [as_message(given)]
    if isinstance(given, bytes | bytearray) or not isinstance(given, Iterable):
        raise InputError(f"messages are {_SHAPES}, not {type(given).__name__}")
    return [as_message(one) for one in given]


def as_message(given: MessageLike) -> Message:
    """The message that a caller means; a string is said by the user. Raises `InputError` for anything else."""
    if isinstance(given, Message):
        return given
    if isinstance(given, str):
        return Message(role="user", content=given)
    if not isinstance(given, Mapping):
        raise InputError(f"messages are {_SHAPES}, not {type(given).__name__} in a list")
    values = dict(given)
    values.setdefault("speaker", values.pop("name", None))
    for key, value in values.items():
        if key not in (*_FIELDS, *_UNKEPT) and value not in (None, "", [], {}):
            raise InputError(
                f"a message has {', '.join(_FIELDS)}; `{key}` cannot be stored, leave it out or say it in `content`"
            )
    role = values.get("role")
    if role == "developer":
        role = "system"
    if role not in get_args(Role):
        raise InputError(f"a message's role is {', '.join(get_args(Role))} or developer, not {role!r}")
    fields = {key: values[key] for key in ("time", "id", "speaker") if values.get(key) is not None}
    try:
        return Message.model_validate({"role": role, "content": _content(values.get("content")), **fields})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InputError(f"a message's {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


def user_turn(given: MessageLike, images: Sequence[ImageLike] = ()) -> Message:
    """What the user says in one turn, with pictures, which stand before the text. Raises `InputError`."""
    message = as_message(given)
    if message.role != "user":
        raise InputError(f"a turn is said by the user, not by {message.role!r}; `memory.add` stores what others said")
    if isinstance(images, str | bytes | Path | ImagePart):
        raise InputError("images is a list of pictures; put the one you have into a list")
    if not images:
        return message
    said: tuple[Part, ...] = (TextPart(text=message.content),) if isinstance(message.content, str) else message.content
    return message.model_copy(update={"content": (*map(as_image, images), *said)})


def as_image(given: ImageLike) -> ImagePart:
    """The picture that a caller means. Raises `InputError` for a file that is not there, or is no PNG, JPEG or WebP."""
    if isinstance(given, ImagePart):
        return given
    if isinstance(given, str | Path):
        try:
            data, name = Path(given).read_bytes(), str(given)
        except OSError as error:
            raise InputError(f"cannot read the picture {given}: {error.strerror}") from error
    elif isinstance(given, bytes):
        data, name = given, "these bytes"
    else:
        raise InputError(f"a picture is an ImagePart, the bytes of a file, or its path, not {type(given).__name__}")
    for signature, media_type in _SIGNATURES.items():
        if data.startswith(signature):
            return ImagePart.model_validate({"data": data, "media_type": media_type})
    raise InputError(f"{name} is no PNG, JPEG or WebP picture")


def _content(given: object) -> str | tuple[Part, ...]:
    if isinstance(given, str):
        return given
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise InputError(f"a message's content is a string or a list of parts, not {type(given).__name__}")
    parts = tuple(_part(one) for one in given)
    if all(isinstance(part, TextPart) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return parts


def _part(given: object) -> Part:
    if isinstance(given, TextPart | ImagePart):
        return given
    if isinstance(given, str):
        return TextPart(text=given)
    kind = given.get("type") if isinstance(given, Mapping) else type(given).__name__
    if isinstance(given, Mapping):
        if kind in _TEXTS and isinstance(given.get("text"), str):
            return TextPart(text=given["text"])
        if kind in _IMAGES:
            return _picture(given)
        if kind in _UNHELD:
            return TextPart(text=str(given.get("refusal") or f"[{kind} left out]"))
    known = ", ".join((*_TEXTS, *_IMAGES))
    raise InputError(f"a part of a message is one of {known}, not {kind!r}; leave it out, or give its text")


def _picture(given: Mapping[str, object]) -> Part:
    """The picture of a part, from a data URL or by value; words in its place when it stands elsewhere or cannot be read."""
    source = given.get("image_url", given.get("source", given))
    source = source if isinstance(source, Mapping) else {"url": source}
    where = str(source.get("url", source.get("file_id", source.get("media_type", "of another form"))))
    head, comma, data = where.partition(",")
    fields = {"data": source.get("data"), "media_type": source.get("media_type", "image/png")}
    if head.startswith("data:"):
        fields = {"data": data, "media_type": head[len("data:") :].removesuffix(";base64")}
    try:
        return ImagePart.model_validate(fields)
    except ValidationError:
        return TextPart(text=f"[picture left out: {(head if comma and head.startswith('data:') else where)[:200]}]")
