"""`ChatModel`: one small contract for every engine that answers.

An engine implements `_stream`, a generator that yields pieces of text and returns a `Reply`. From it come `stream`
(an iterator of pieces whose `.reply` is there at the end) and `generate` (the reply alone). A `schema` asks for JSON
of that pydantic model; engines that can constrain decoding do, and in every case the base class parses the text and
raises `MalformedOutput` with what was said when it does not fit: model output is untrusted input.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError

from memagent.errors import InputError, MalformedOutput
from memagent.types import Message, Usage
from memagent_renderers.budget import ReaderProfile

T = TypeVar("T", bound=BaseModel)

_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:\n\s*```|```\s*$)", re.DOTALL)

StopReason = Literal["stop", "length", "interrupted"]


@dataclass(frozen=True)
class Request:
    """Everything one call asks of an engine."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    """Most text tokens to write."""
    temperature: float = 0.0
    """0 is greedy."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    schema: type[BaseModel] | None = None
    """Ask for JSON of this shape."""
    seed: int = 0
    timeout: float | None = None
    """Seconds for the whole call; None is the engine's own."""


class Reply(BaseModel):
    """A complete answer of a model, with what it cost and why it ended."""

    model_config = ConfigDict(frozen=True)

    text: str
    usage: Usage = Usage()
    stop_reason: StopReason = "stop"
    model: str = ""
    parsed: SerializeAsAny[BaseModel] | None = None
    """The answer as an instance of the schema; None when no schema was asked for."""


class ReplyStream(Iterator[str]):
    """Pieces of an answer as they come. `reply` is the whole, once the last piece has been taken.

    When the answer misses the schema, `MalformedOutput` is raised at the end and `reply` holds it unparsed, with its cost.
    """

    def __init__(self, pieces: Generator[str, None, Reply], *, request: Request) -> None:
        self._pieces = pieces
        self._request = request
        self.reply: Reply | None = None

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except StopIteration as end:
            if self.reply is None:
                self.reply = reply = end.value
                if (schema := self._request.schema) is not None:
                    self.reply = reply.model_copy(update={"parsed": parse_json(reply.text, schema)})
            raise StopIteration from None

    def close(self) -> None:
        """Stop the engine early; what was said so far stays said."""
        self._pieces.close()


class ChatModel(ABC):
    """A model that answers. `name` is its `provider:model` string, `reader` how it counts what it reads."""

    name: str
    reader: ReaderProfile
    small: bool = False
    """Too small to follow instructions: it is shown worked examples, a short memory and one question at a time."""

    @abstractmethod
    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        """Yield pieces of text; return the whole reply with its usage."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = 512,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        schema: type[BaseModel] | None = None,
        seed: int = 0,
        timeout: float | None = None,
    ) -> ReplyStream:
        """Start an answer. Raises `InputError` for an empty conversation, `ModelError` when the engine fails."""
        if not messages:
            raise InputError("a model needs at least one message")
        if max_tokens < 1:
            raise InputError(f"max_tokens is 1 or more, not {max_tokens}")
        request = Request(tuple(messages), max_tokens, temperature, tuple(stop), schema, seed, timeout)
        return ReplyStream(self._stream(request), request=request)

    def generate(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = 512,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        schema: type[BaseModel] | None = None,
        seed: int = 0,
        timeout: float | None = None,
    ) -> Reply:
        """The whole answer. Raises as `stream` does, and `MalformedOutput` when a schema was asked for and missed."""
        stream = self.stream(
            messages,
            max_tokens=max_tokens,
            temperature=temperature,
            stop=stop,
            schema=schema,
            seed=seed,
            timeout=timeout,
        )
        for _ in stream:
            pass
        assert stream.reply is not None
        return stream.reply

    def close(self) -> None:
        """Free what the engine holds. Safe to call twice."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def parse_json(text: str, schema: type[T]) -> T:
    """`text` as an instance of `schema`. Raises `MalformedOutput` with the text.

    Of a text that does not begin as JSON, thoughts before `</think>` are left out and the first fenced block is taken.
    """
    body = text.strip()
    if not body.startswith(("{", "[", "```")):
        body = body.rpartition("</think>")[2].strip()
    if not body.startswith(("{", "[")) and (fenced := _FENCED.search(body)):
        body = fenced[1].strip()
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the text"
        message = f"the model's answer is not a valid `{schema.__name__}`: {where}: {first['msg']}. It said: {text[:500]!r}"
        raise MalformedOutput(message, output=text) from error
