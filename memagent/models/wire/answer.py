"""The body of a response to a chat request, read piece by piece without trusting it.

What comes may be the stream of events that was asked for, one JSON object from a server that does not stream, a web page of
a proxy, or nothing; compressed or not; whole or cut. `ChatAnswer.feed` takes bytes as they come and gives pieces of text,
`ChatAnswer.check` says at the end whether they were a whole answer. Whatever is no answer is a `BadAnswer`. Everything is
bounded: the bytes of the body after unpacking, and the characters of the answer, of which the first ones are kept.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a carriage return at the end may be the first half of a pair
_BLANKS = re.compile(rb"\n{3,}")
_STEP = 65_536
"""Bytes that are unpacked at once."""
_BODY_BYTES, _BODY_BYTES_PER_TOKEN = 16_000_000, 4_096
"""Most bytes of a body: each token may come in a chunk of its own with names, times and probabilities around it."""
_CHARACTERS, _CHARACTERS_PER_TOKEN = 4_096, 32
"""Most characters of an answer: far above what tokens hold (about four), so that only a server that ignores the limit of
tokens is cut."""
_MOST_CHARACTERS = 1_000_000
"""What a store takes as one message, in any script."""
_FIELDS = (b":", b"data", b"event", b"id", b"retry")
_TEXTS = ("text", "output_text")
_REASONING = ("reasoning_content", "reasoning")
_CUT = ("length", "max_tokens")
_TOOLS = ("tool_calls", "function_call")
_BROKEN = ("error", "abort", "insufficient_system_resource")
_HOPELESS = re.compile(r"invalid|authent|permission|not.?found|context|quota|content|unsupported|billing", re.IGNORECASE)
_PASSING_STATUS = (408, 409, 425, 429)


class BadAnswer(Exception):
    """What a server sent is no answer. The text completes "the server ..."."""

    def __init__(self, message: str, *, retryable: bool = True, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status
        self.wait = wait
        """Seconds after which the server asks to be tried again; None when it did not say."""
        self.request_id: str | None = None


def may_pass(status: int) -> bool:
    """Whether a call that was answered with this status may succeed later."""
    return status in _PASSING_STATUS or status >= 500


class ChatAnswer:
    """One answer, while it comes."""

    def __init__(self, *, max_tokens: int) -> None:
        self.finish: str | None = None
        """Why the server says that it ended; None until it does."""
        self.usage: dict[str, Any] = {}
        """What the server reports to have counted; whatever it sent."""
        self.done = False
        """Whether nothing of interest can follow."""
        self.reasoning = ""
        self._pieces: list[str] = []
        self._length, self._passed = 0, 0
        """Characters of the pieces, and how many of the pieces have been passed on."""
        self._unpacker = _unpacker("")
        self._most_bytes = _BODY_BYTES + _BODY_BYTES_PER_TOKEN * max_tokens
        self._most_characters = min(_CHARACTERS + _CHARACTERS_PER_TOKEN * max_tokens, _MOST_CHARACTERS)
        self._bytes = 0
        self._head = b""
        self._parts: list[bytes] = []
        """The line that has begun; of a body that is one JSON object, all of it."""
        self._data: list[str] = []
        self._event = b""
        """The name of the event that has begun."""
        self._events = 0
        self._held = ""
        """A first half of a surrogate pair, until the second comes."""
        self._refusal = ""
        self._tool = False

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def unpack(self, encoding: str) -> None:
        """Take the bytes that come as packed: `encoding` is the Content-Encoding of the response. Raises `BadAnswer`."""
        self._unpacker = _unpacker(encoding)

    def feed(self, data: bytes) -> Iterator[str]:
        """The text that these bytes complete, in pieces. Raises `BadAnswer`, once what came before it has been passed on."""
        for part in self._unpacker(data):
            self._bytes += len(part)
            if self._bytes > self._most_bytes:
                raise BadAnswer(f"sent more than {self._most_bytes:,} bytes without ending its answer", retryable=False)
            if len(self._head) < 200:
                self._head = (self._head + part).removeprefix(b"\xef\xbb\xbf").lstrip()[:400]
            try:
                self._lines(part)
            finally:
                yield from self._passed_on()
            if self.done:
                return

    def close(self) -> Iterator[str]:
        """The text that the end of the body completes. Raises as `feed` does."""
        try:
            self._end()
        finally:
            yield from self._passed_on()

    def _end(self) -> None:
        rest = b"".join(self._parts)
        self._parts = []
        if self._is_object:
            self._chunk(_loaded(rest.decode("utf-8-sig", "replace")), "message")
            self.done = True
        elif not self.done:
            # what was cut in the middle of an event is no fault of its form: `check` says that it was cut
            if rest:
                self._line(rest)
            if self._data and _is_whole("\n".join(self._data)):
                self._dispatch()
        if self._held:
            self._held = ""
            self._keep("\ufffd")

    def _passed_on(self) -> Iterator[str]:
        fresh, self._passed = self._pieces[self._passed :], len(self._pieces)
        yield from fresh

    @property
    def _is_object(self) -> bool:
        return self._head[:1] in (b"{", b"[")

    def _lines(self, part: bytes) -> None:
        """Take the lines that a part of the body completes."""
        if self._head[:1] == b"<":
            raise BadAnswer("answered with a web page instead of the chat API; check the base URL", retryable=False)
        pending = bool(self._parts) and self._parts[-1].endswith(b"\r")
        if self._is_object or not (pending or b"\n" in part or b"\r" in part):
            self._parts.append(part)
            return
        # millions of empty lines say as much as two
        *lines, rest = _LINE_END.split(_BLANKS.sub(b"\n\n", b"".join((*self._parts, part))))
        self._parts = [rest] if rest else []
        for line in lines:
            self._line(line)
            if self.done:
                return

    # -- events --------------------------------------------------------------------------------------------------------

    def _line(self, line: bytes) -> None:
        """One line of an event stream: an empty one ends an event, comments, ids and the like say nothing of interest."""
        if not line:
            self._dispatch()
            return
        name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        name = name.strip()
        if name == b"error":  # as llama.cpp tells that it failed
            raise _told(value.decode("utf-8", "replace"))
        if name in (b"data", b"event"):
            if self._data and _is_whole("\n".join(self._data)):  # a server that leaves the empty lines out
                self._dispatch()
            if name == b"event":
                self._event = value.strip()
                return
            try:
                self._data.append(value.removeprefix(b" ").decode())
            except UnicodeDecodeError:
                raise BadAnswer("sent bytes that are not UTF-8") from None

    def _dispatch(self) -> None:
        data, self._data = "\n".join(self._data).strip(), []
        name, self._event = self._event, b""
        if not data:
            return
        self._events += 1
        if name == b"error":
            raise _told(data)
        if data == "[DONE]":
            self.done = True
        else:
            self._chunk(_loaded(data), "delta")

    def _chunk(self, chunk: object, field: str) -> None:
        """One JSON object of the stream, or the only one of a server that does not stream."""
        if not isinstance(chunk, dict):
            raise BadAnswer(f"sent a chunk that is no object: {str(chunk)[:80]!r}")
        if chunk.get("error"):
            raise _failure(chunk["error"])
        if chunk.get("object") == "error":
            raise _failure(chunk)
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        choices = chunk.get("choices", [])
        if choices is None and self.usage:
            choices = []
        for choice in _checked(choices, list, "choices"):
            if _checked(choice, dict, "choice").get("index") in (None, 0):
                self._choice(choice, _checked(choice.get(field) or {}, dict, field))

    def _choice(self, choice: dict[str, Any], said: dict[str, Any]) -> None:
        for name in _REASONING:
            if isinstance(said.get(name), str):
                self._think(said[name])
                break
        if refusal := said.get("refusal"):
            self._refusal += _checked(refusal, str, "refusal")
        if not self._tool and not said.keys().isdisjoint(_TOOLS):
            self._tool = any(said.get(name) for name in _TOOLS)
        self._say(self._content(said.get("content")))
        self.finish = _checked(choice.get("finish_reason") or "", str, "finish_reason") or self.finish

    def _content(self, content: object) -> str:
        """The text of a content, which may come in parts; parts that are thoughts are kept apart."""
        if content is None or isinstance(content, str):
            return content or ""
        text = ""
        for part in _checked(content, list, "content"):
            kind = _checked(part, dict, "part of a content").get("type")
            if kind == "thinking":
                self._think(self._content(part.get("thinking")))
            elif kind in _TEXTS:
                text += _checked(part.get("text"), str, "text")
        return text

    def _think(self, text: str) -> None:
        if len(self.reasoning) < self._most_characters:
            self.reasoning += text

    def _say(self, text: str) -> None:
        """Take text of the answer; halves of a surrogate pair that came apart are joined, lone ones replaced."""
        whole = self._held + text
        self._held = whole[-1:] if "\ud800" <= whole[-1:] <= "\udbff" else ""
        self._keep(joined(whole[: len(whole) - len(self._held)]))

    def _keep(self, text: str) -> None:
        kept = text[: self._most_characters - self._length]
        self._length += len(kept)
        if kept:
            self._pieces.append(kept)
        if len(kept) < len(text):
            self.finish, self.done, self._held = "length", True, ""

    # -- the whole -----------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """What has been said so far."""
        return "".join(self._pieces)

    @property
    def cut(self) -> bool:
        """Whether the answer ends at a limit of its length."""
        return self.finish in _CUT

    def check(self) -> None:
        """Raise `BadAnswer` unless what came is a whole answer."""
        self.reasoning = joined(self.reasoning)
        if not self._head:
            raise BadAnswer("sent nothing")
        if not self._events and not self._is_object and not self._head.startswith(_FIELDS):
            raise BadAnswer(f"sent no answer of the chat API: {self._head[:80].decode('utf-8', 'replace')!r}", retryable=False)
        if not self.finish and not self.done:
            raise BadAnswer("broke off before the end of its answer")
        if self.finish == "content_filter":
            raise BadAnswer("withheld its answer: its content filter was triggered", retryable=False)
        if self.finish in _BROKEN:
            raise BadAnswer(f"gave up its answer: {self.finish!r}")
        if self.finish in _TOOLS or (self._tool and not self.text):
            raise BadAnswer("called a tool instead of answering, and it was offered none", retryable=False)
        if not self.text.strip() and self._refusal:
            raise BadAnswer(f"refused to answer: {joined(self._refusal)[:500]}", retryable=False)
        if not self.text.strip() and not self.reasoning:
            raise BadAnswer("gave an empty answer")


def joined(text: str) -> str:
    """`text` as valid Unicode: surrogate pairs become the character they stand for, lone surrogates U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _loaded(data: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadAnswer(f"sent malformed JSON: {data[:80]!r}") from None


def _is_whole(data: str) -> bool:
    try:
        return data.strip() == "[DONE]" or json.loads(data) is not None
    except (ValueError, RecursionError):
        return False


def _checked(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise BadAnswer(f"sent a {name} of a wrong type: {str(value)[:80]!r}")
    return value


def _failure(error: object) -> BadAnswer:
    """The error that a server sends with status 200, in the stream or instead of it."""
    fields = error if isinstance(error, dict) else {"message": error}
    statuses = [str(fields.get(name)) for name in ("status", "code")]
    status = next((int(one) for one in statuses if re.fullmatch("[45][0-9][0-9]", one)), None)
    kinds = " ".join(str(fields.get(name) or "") for name in ("type", "code"))
    retryable = not _HOPELESS.search(kinds) if status is None else may_pass(status)
    return BadAnswer(f"failed: {str(fields.get('message') or error)[:500]}", retryable=retryable, status=status)


def _told(data: str) -> BadAnswer:
    """The failure that an event named "error", or a line of that name, tells in JSON or in words."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = data.strip()
    return _failure(found.get("error") or found if isinstance(found, dict) else found)


def _unpacker(encoding: str) -> Any:
    """A function from bytes of the body to parts of it as they were before compression, each of bounded size."""
    if encoding in ("", "identity"):
        return lambda data: [data]
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise BadAnswer(f"packed its answer as {encoding[:40]!r}, which was not asked for", retryable=False)
    packed = zlib.decompressobj(47)  # gzip or zlib, by the first bytes

    def unpack(data: bytes) -> Iterator[bytes]:
        while data:
            try:
                yield packed.decompress(data, _STEP)
            except zlib.error:
                raise BadAnswer("packed its answer wrongly") from None
            data = packed.unconsumed_tail

    return unpack
