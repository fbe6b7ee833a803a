"""One call of the chat API as a generator: it yields what it needs done, and pieces of text, and returns the answer.

The steps are few: open a request and get its head, read bytes, wait. `transport` takes them for synchronous and for async
callers, so that trying again, refusals and the end of an answer are decided here once. A call is tried again only as long
as nothing of its answer has been passed on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

from memagent.models.wire.answer import BadAnswer, ChatAnswer, may_pass

PAUSE = 0.5
"""Seconds before the second try; doubled before each further one, unless the server names its own."""
LONGEST_PAUSE = 60.0
"""Seconds; a server that asks to be left alone for longer is not waited for."""
GRACE, _LAST_READS = 2.0, 16
"""Seconds, and reads, in which a server that has ended its answer may say what it cost and hang up."""
_ERROR_BYTES = 65_536
"""Most bytes that are read of a refusal."""
_WORDS = 500
"""Most characters of a refusal that are shown."""


@dataclass(frozen=True)
class Open:
    """Send the request and get the head of the response."""


@dataclass(frozen=True)
class Read:
    """Get bytes of the body; b"" is its end. With `within`, whatever comes is welcome: b"" also when nothing comes in so
    many seconds, or the connection breaks."""

    within: float | None = None


@dataclass(frozen=True)
class Wait:
    """Do nothing for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Head:
    """The head of a response; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]


class Expired(Exception):
    """The time for the whole call is over."""


class Disconnected(Exception):
    """The connection could not be made, or broke. The text is the kind of failure."""


Step = Open | Read | Wait
Outcome = Head | bytes | Exception | None
"""What a step gave; an `Expired` or `Disconnected` is thrown into the generator."""


def ask(*, max_tokens: int, tries: int) -> Generator[Step | str, Outcome, ChatAnswer]:
    """The answer to a request, in up to `tries` tries. Raises `BadAnswer`, `Expired` and `Disconnected`."""
    for number in range(tries):
        answer = ChatAnswer(max_tokens=max_tokens)
        try:
            yield from _once(answer)
            return answer
        except (BadAnswer, Disconnected) as error:
            asked = error.wait if isinstance(error, BadAnswer) else None
            pause = PAUSE * 2**number if asked is None else asked
            hopeless = isinstance(error, BadAnswer) and not error.retryable
            if answer.text or hopeless or number == tries - 1 or pause > LONGEST_PAUSE:
                raise
            failed = error
        try:
            yield Wait(pause)
        except Expired:
            raise failed from None
    raise AssertionError("unreachable")


def whole(*, most_bytes: int) -> Generator[Step | str, Outcome, bytes]:
    """The whole body of a response, in one try. Raises `BadAnswer`, `Expired` and `Disconnected`."""
    head = yield Open()
    assert isinstance(head, Head)
    if not 200 <= head.status < 300:
        raise _refusal(head, (yield from _body()))
    parts, size = [], 0
    while more := (yield Read()):
        assert isinstance(more, bytes)
        parts.append(more)
        size += len(more)
        if size > most_bytes:
            raise BadAnswer(f"sent more than {most_bytes:,} bytes", retryable=False)
    return b"".join(parts)


def _once(answer: ChatAnswer) -> Generator[Step | str, Outcome, None]:
    head = yield Open()
    assert isinstance(head, Head)
    if not 200 <= head.status < 300:
        raise _refusal(head, (yield from _body()))
    answer.unpack(head.headers.get("content-encoding", "").strip().lower())
    last_reads = 0
    while not answer.done and last_reads < _LAST_READS:
        last_reads += answer.finish is not None
        try:
            data = yield Read(within=GRACE if answer.finish else None)
        except Disconnected:  # what has come says whether that was the end
            break
        assert isinstance(data, bytes)
        if not data:
            break
        yield from answer.feed(data)
    yield from answer.close()
    answer.check()


def _body() -> Generator[Step | str, Outcome, bytes]:
    """The start of the body of a refusal; what cannot be read of it is left."""
    data = b""
    while len(data) < _ERROR_BYTES:
        more = yield Read(within=GRACE)
        assert isinstance(more, bytes)
        if not more:
            break
        data += more
    return data


def _refusal(head: Head, body: bytes) -> BadAnswer:
    """The server's own refusal, with its words, and the number under which its log has the request."""
    status = head.status
    if 300 <= status < 400:
        place = head.headers.get("location", "")
        host = place.partition("//")[2].partition("/")[0].rpartition("@")[2].partition("?")[0] or "another path"
        message = f"redirects to {host[:200]}, where nothing was sent; if that is right, make it the base URL"
        return BadAnswer(message, retryable=False, status=status)
    hint = {401: "; check the key", 404: "; check the model's name and the base URL"}.get(status, "")
    error = BadAnswer(f"answered {status}: {_words(body)}{hint}", retryable=may_pass(status), status=status)
    error.wait = _seconds(head.headers)
    error.request_id = head.headers.get("x-request-id")
    return error


def _words(body: bytes) -> str:
    """What a refusal says: the message of its JSON, else its text without the tags of a page."""
    text = body.decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    for name in ("error", "message", "detail"):
        if isinstance(found, dict):
            found = found.get(name, found)
    if found is None and text.startswith("<"):
        return "a web page"
    return (text if found is None else str(found))[:_WORDS] or "(nothing)"


def _seconds(headers: Mapping[str, str]) -> float | None:
    """When the server asks to be tried again, in seconds; None when it does not say."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    moment = _moment(headers.get("retry-after", ""))
    if moment is None:
        return None
    return max(moment - (_moment(headers.get("date", "")) or time.time()), 0.0)  # by the server's own clock, if it shows it


def _moment(date: str) -> float | None:
    """The seconds since 1970 of a date in a header; None for what is none."""
    try:
        found = parsedate_tz(date)
        return None if found is None else float(mktime_tz(found))
    except (ValueError, OverflowError):
        return None
