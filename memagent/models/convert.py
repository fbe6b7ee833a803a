"""What the engines share on the way from `Message` to a model's own input and back.

Text goes through `escape_special_tokens` first: marks that a chat template gives a meaning (`<|im_start|>`, `[INST]`, `</s>`)
are broken by a space wherever a message contains them, so that nobody opens a new turn from inside a message or a recalled
memory. Answers go through `cut_at_stop`, which holds back just as many characters as could still begin a stop text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TypeAlias

from PIL import Image

from memagent.errors import InputError
from memagent.models.base import Request
from memagent.types import ImagePart, Message, Usage
from memagent_renderers.budget import ReaderProfile

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | dict[str, Json] | None"

_MARK = re.compile(
    r"<(?=\|[^|<>\s]{1,40}\|>)|<(?=/?s>)|<(?=(?:start|end)_of_(?:turn|image)>)|\[(?=/?(?:INST|IMG|SYSTEM_PROMPT)\])"
    r"|<(?=\uff5c[^\uff5c<>]{1,40}\uff5c>)"
)


def escape_special_tokens(text: str) -> str:
    """`text` with the control marks of chat templates broken by a space; any other text comes back as it is."""
    return _MARK.sub(lambda match: match[0] + " ", text)


def chat_messages(messages: Iterable[Message]) -> list[dict[str, Json]]:
    """Messages in the form of the OpenAI chat API; pictures become data URLs, `tool` results the user's words."""
    told: list[dict[str, Json]] = []
    for message in messages:
        content: Json
        if isinstance(message.content, str):
            content = escape_special_tokens(message.content)
        else:
            content = [
                {"type": "image_url", "image_url": {"url": part.url}}
                if isinstance(part, ImagePart)
                else {"type": "text", "text": escape_special_tokens(part.text)}
                for part in message.content
            ]
        # A tool message of that API must answer a tool call by id; ours are observations of an environment.
        told.append({"role": "user" if message.role == "tool" else message.role, "content": content})
    return told


def chat_request(request: Request) -> dict[str, Json]:
    """What llama.cpp's server and the OpenAI API are asked alike: a stream, and a report of what it cost at its end."""
    return {
        "messages": chat_messages(request.messages),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"stop": list(request.stop)} if request.stop else {}),
    }


def reported_usage(prompt_tokens: int, completion_tokens: int, *, visual: int) -> Usage:
    """A server's report as ours: it counts pictures into the prompt, we keep them apart."""
    return Usage(text_in=max(0, prompt_tokens - visual), text_out=completion_tokens, visual=visual, calls=1)


_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def _unreadable(part: ImagePart, error: Exception) -> InputError:
    return InputError(f"an image part of {len(part.data)} bytes is not a readable {part.media_type}: {error}")


def open_picture(part: ImagePart) -> Image.Image:
    """The decoded picture. Raises `InputError` when the bytes are not one."""
    try:
        picture = Image.open(io.BytesIO(part.data))
        picture.load()
    except _UNREADABLE as error:
        raise _unreadable(part, error) from error
    return picture


def picture_size(part: ImagePart) -> tuple[int, int]:
    """Width and height in px, read from the header alone."""
    try:
        with Image.open(io.BytesIO(part.data)) as picture:
            return picture.size
    except _UNREADABLE as error:
        raise _unreadable(part, error) from error


def visual_cost(messages: Iterable[Message], reader: ReaderProfile) -> int:
    """Visual tokens that `reader` charges for all pictures of a conversation."""
    return sum(reader.image_cost(*picture_size(part)) for message in messages for part in message.images)


def text_cost(messages: Iterable[Message], reader: ReaderProfile) -> int:
    """Text tokens of a conversation as `reader` counts them, without the marks of a chat template."""
    return sum(reader.count(message.text) for message in messages)


def require_sight(messages: Iterable[Message], reader: ReaderProfile, *, hint: str) -> None:
    """Raise `InputError` with `hint` when a picture is shown to a model that cannot see."""
    if not reader.sees_images and any(message.images for message in messages):
        raise InputError(f"`{reader.name}` cannot see pictures. {hint}")


def cut_at_stop(pieces: Iterator[str], stop: Sequence[str]) -> Generator[str, None, bool]:
    """Yield `pieces` up to the first stop text, which is left out; return whether one was met."""
    marks = tuple(mark for mark in stop if mark)
    held = ""
    for piece in pieces:
        held += piece
        found = [at for mark in marks if (at := held.find(mark)) >= 0]
        if found:
            if min(found):
                yield held[: min(found)]
            return True
        # the longest end that could still begin a stop text waits for the next piece
        keep = max((size for mark in marks for size in range(1, len(mark)) if held.endswith(mark[:size])), default=0)
        ready = held[: len(held) - keep]
        if ready:
            yield ready
            held = held[len(ready) :]
    if held:
        yield held
    return False
