"""Ask a model for JSON until the answer will do.

An answer that is not JSON of the schema, or that the caller's check rejects, goes back to the model with the reason, and
it is asked again with another seed; after some tries that is an error. Only the last rejected answer is shown, so that a
prompt does not grow with the tries. What all of it cost, rejected answers included, is added to a `UsageCounter`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from memagent.errors import InputError, MalformedOutput
from memagent.models.base import ChatModel, Reply, ReplyStream
from memagent.types import Message, Usage, user_message

T = TypeVar("T", bound=BaseModel)

TRIES = 5
MAX_TOKENS = 1024
RETRY_PROMPT = "That will not do: {reason}. Answer again, the whole answer, as JSON and nothing else."
_PROBLEMS = 5
"""Wrong places of an answer that are told at once."""


class InvalidAnswer(ValueError):
    """An answer has the right form and will not do. The text says why, to the model."""


class UsageCounter:
    """What asking costs. Threads may share one."""

    def __init__(self) -> None:
        self.usage = Usage()
        """Of all answers, the rejected ones included."""
        self.retries = 0
        """Calls that were made because an answer was rejected."""
        self._lock = threading.Lock()

    def add(self, usage: Usage, *, retries: int = 0) -> None:
        with self._lock:
            self.usage += usage
            self.retries += retries


def ask_json(
    model: ChatModel,
    messages: Sequence[Message],
    schema: type[T],
    *,
    check: Callable[[T], object] | None = None,
    tries: int = TRIES,
    temperature: float = 0.0,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    tally: UsageCounter | None = None,
) -> T:
    """The answer as an instance of `schema` that `check` lets pass; it raises `InvalidAnswer` for one that will not do.

    Try k, from 0, is made with `seed` + k. Raises `MalformedOutput` with the last reason when no try would do, and what the
    model itself raises.
    """
    if tries < 1:
        raise InputError(f"tries is 1 or more, not {tries}")
    asked, tally = list(messages), tally or UsageCounter()
    for attempt in range(tries):
        stream = model.stream(asked, schema=schema, temperature=temperature, max_tokens=max_tokens, seed=seed + attempt)
        try:
            return _taken(stream, schema, check)
        except MalformedOutput as error:
            said, reason = error.output, _reason(error, stream.reply)
        finally:
            tally.add(stream.reply.usage if stream.reply else Usage(), retries=int(attempt > 0))
        asked = [
            *messages,
            Message(role="assistant", content=said or "(nothing)"),
            user_message(RETRY_PROMPT.format(reason=reason)),
        ]
    raise MalformedOutput(f"the model gave no usable `{schema.__name__}` in {tries} tries; the last: {reason}", output=said)


def _taken(stream: ReplyStream, schema: type[T], check: Callable[[T], object] | None) -> T:
    """The whole answer, if it will do. Raises `MalformedOutput`."""
    for _ in stream:
        pass
    reply = stream.reply
    assert reply is not None
    assert isinstance(reply.parsed, schema)
    if check is not None:
        try:
            check(reply.parsed)
        except InvalidAnswer as error:
            raise MalformedOutput(str(error), output=reply.text) from error
    return reply.parsed


def _reason(error: MalformedOutput, reply: Reply | None) -> str:
    """What is wrong with the form of an answer, without repeating the answer."""
    cut = " (the answer was cut off: make it shorter)" if reply is not None and reply.stop_reason == "length" else ""
    if not isinstance(error.__cause__, ValidationError):
        return f"{error}{cut}"
    problems = error.__cause__.errors(include_url=False)[:_PROBLEMS]
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the text'}: {one['msg']}" for one in problems) + cut
