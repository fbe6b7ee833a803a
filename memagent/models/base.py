"""`ChatModel`: one small contract for every engine that answers.

An engine implements `_stream`, a generator that yields pieces of text and returns a `Reply`. From it come `stream`
(an iterator of pieces whose `.reply` is there at the end) and `generate` (the reply alone), and, for asyncio, `astream` and
`agenerate`: an engine that waits for a network overrides `_astream` too, any other is run on threads. Thoughts of a model
are kept apart from its answer. A `schema` asks for JSON of that pydantic model; engines that can constrain decoding do, and
in every case the base class parses the text and raises `MalformedOutput` with what was said when it does not fit: model
output is untrusted input.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypedDict, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError

from memagent.errors import InputError, MalformedOutput, ModelError, NoAnswer
from memagent.models.thoughts import ThoughtSplitter, without_opening
from memagent.models.threads import in_threads
from memagent.types import Message, Usage
from memagent_renderers.budget import ReaderProfile

T = TypeVar("T", bound=BaseModel)

_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:\n\s*```|```\s*$)", re.DOTALL)

LONGEST_TIMEOUT = 86_400 * 365
"""Seconds."""

StopReason = Literal["stop", "length", "interrupted"]


@dataclass(frozen=True)
class Request:
    """Everything one call asks of an engine."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    """Most text tokens to write."""
    temperature: float = 0.0
    """0 is greedy."""
    stop: Sequence[str] = ()
    """Texts that end the answer; they are not part of it."""
    schema: type[BaseModel] | None = None
    """Ask for JSON of this shape."""
    seed: int = 0
    timeout: float | None = None
    """Seconds for the whole call; None is the engine's own."""


class CallOptions(TypedDict, total=False):
    """What may be said with a call; see the fields of `Request`."""

    max_tokens: int
    temperature: float
    stop: Sequence[str]
    schema: type[BaseModel] | None
    seed: int
    timeout: float | None


class Reply(BaseModel):
    """A complete answer of a model, with what it cost and why it ended."""

    model_config = ConfigDict(frozen=True)

    text: str
    reasoning: str = ""
    """What the model thought before it answered, where it says so; no part of the answer."""
    usage: Usage = Usage()
    stop_reason: StopReason = "stop"
    model: str = ""
    parsed: SerializeAsAny[BaseModel] | None = None
    """The answer as an instance of the schema; None when no schema was asked for."""


class _Answering:
    """What both kinds of stream do with the pieces and the reply of an engine."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._splitter = ThoughtSplitter()
        self._said: list[str] = []
        self.reply: Reply | None = None

    def _shown(self, piece: str) -> str:
        """What of a piece belongs to the answer."""
        shown = self._splitter.feed(piece)
        self._said.append(shown)
        return shown

    def _rest(self, reply: Reply) -> str:
        """Take the reply of the engine. Returns the end of the answer that was held back. Raises as `stream` says."""
        rest = self._splitter.end()
        self._said.append(rest)
        text, thoughts = "".join(self._said), self._splitter.thoughts.strip()
        if not thoughts:
            thoughts, text = without_opening(text)
        reasoning = "\n".join(filter(None, (reply.reasoning.strip(), thoughts)))
        if thoughts:
            reply = reply.model_copy(update={"text": text})
        self.reply = reply = reply.model_copy(update={"reasoning": reasoning})
        if reasoning and not reply.text.strip():
            problem = f"`{reply.model}` thought and did not answer; a larger `max_tokens` leaves room for both"
            raise NoAnswer(problem)
        if (schema := self._request.schema) is not None:
            self.reply = reply.model_copy(update={"parsed": parse_json(reply.text, schema)})
        return rest

    def _failed(self, error: ModelError) -> None:
        """Note in an error what had been said before it."""
        error.partial = "".join(self._said)


class ReplyStream(_Answering, Iterator[str]):
    """Pieces of an answer as they come. `reply` is the whole, once the last piece has been taken.

    When the answer misses the schema, `MalformedOutput` is raised at the end and `reply` holds it unparsed, with its cost.
    """

    def __init__(self, pieces: Generator[str, None, Reply], *, request: Request) -> None:
        super().__init__(request)
        self._pieces = pieces

    def __next__(self) -> str:
        try:
            while True:
                if shown := self._shown(next(self._pieces)):
                    return shown
        except StopIteration as end:
            if self.reply is None and end.value is not None and (rest := self._rest(end.value)):
                return rest
            raise StopIteration from None
        except ModelError as error:
            self._failed(error)
            raise

    def close(self) -> None:
        """Stop the engine early; what was said so far stays said."""
        self._pieces.close()


class AsyncReplyStream(_Answering, AsyncIterator[str]):
    """As `ReplyStream`, for `async for`. Cancelling a task that waits for a piece stops the engine."""

    def __init__(self, pieces: AsyncGenerator[str | Reply, None], *, request: Request) -> None:
        super().__init__(request)
        self._pieces = pieces

    async def __anext__(self) -> str:
        while True:
            try:
                piece = await anext(self._pieces)
            except ModelError as error:
                self._failed(error)
                raise
            if shown := self._rest(piece) if isinstance(piece, Reply) else self._shown(piece):
                return shown

    async def aclose(self) -> None:
        """Stop the engine early; what was said so far stays said. Safe to call twice."""
        await self._pieces.aclose()


class ChatModel(ABC):
    """A model that answers. `name` is its `provider:model` string, `reader` how it counts what it reads."""

    name: str
    reader: ReaderProfile
    small: bool = False
    """Too small to be trusted with a memory: agents quote what the user told instead, and ask it about the world only."""

    @abstractmethod
    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        """Yield pieces of text; return the whole reply with its usage."""

    async def _astream(self, request: Request) -> AsyncGenerator[str | Reply, None]:
        """As `_stream`, with the reply as what is yielded last. Here: `_stream`, run on threads."""
        async with aclosing(in_threads(self._stream(request))) as pieces:
            async for piece in pieces:
                yield piece

    def stream(self, messages: Sequence[Message], **options: Unpack[CallOptions]) -> ReplyStream:
        """Start an answer; the options are the fields of `Request`.

        Raises `InputError` for an empty conversation, and a `ModelError` when the engine fails, or thinks until its tokens
        are used up; its `partial` is what had been said.
        """
        request = _request(messages, options)
        return ReplyStream(self._stream(request), request=request)

    def generate(self, messages: Sequence[Message], **options: Unpack[CallOptions]) -> Reply:
        """The whole answer. Raises as `stream` does, and `MalformedOutput` when a schema was asked for and missed."""
        stream = self.stream(messages, **options)
        for _ in stream:
            pass
        assert stream.reply is not None
        return stream.reply

    def astream(self, messages: Sequence[Message], **options: Unpack[CallOptions]) -> AsyncReplyStream:
        """As `stream`, for asyncio: take the pieces with `async for`."""
        request = _request(messages, options)
        return AsyncReplyStream(self._astream(request), request=request)

    async def agenerate(self, messages: Sequence[Message], **options: Unpack[CallOptions]) -> Reply:
        """As `generate`, for asyncio. Cancelling it, or a timeout around it, stops the engine."""
        async with aclosing(self.astream(messages, **options)) as stream:
            async for _ in stream:
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


def _request(messages: Sequence[Message], options: CallOptions) -> Request:
    """A request that can be made. Raises `InputError`."""
    request = Request(tuple(messages), **options)
    strange = next((one for one in request.messages if not isinstance(one, Message)), None)
    if strange is not None or not request.messages:
        seen = "none" if strange is None else repr(strange)[:80]
        raise InputError(f"a model is given one message or more, each as user_message('hi') makes them, not {seen}")
    if isinstance(request.max_tokens, bool) or not isinstance(request.max_tokens, int) or request.max_tokens < 1:
        raise InputError(f"max_tokens is a number from 1 on, not {request.max_tokens!r}")
    if request.timeout is not None:
        checked_timeout(request.timeout)
    return request


def checked_timeout(seconds: float) -> float:
    """A time for a call to take, in seconds. Raises `InputError` for what cannot be one."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TIMEOUT:
        raise InputError(f"timeout is a number of seconds above 0, up to {LONGEST_TIMEOUT:,}, not {seconds!r}")
    return seconds


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
