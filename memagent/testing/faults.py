"""What goes wrong with servers of the chat API: what is sent, and what `OpenAICompatibleModel` makes of it.

`fault_server` serves these, to see what your code does when they happen.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat

SAID = ("You live ", "in Lyon.")
"""The answer that all faults begin with, or would give; it comes in these pieces."""
TEXT = "".join(SAID)


@dataclass(frozen=True)
class Fault:
    """One fault: what it sends and what becomes of it."""

    what: str
    script: Callable[[int], Iterable[bytes | float | None]]
    """What is sent at try k, from 0: bytes, pauses in seconds, and None for a connection that is reset."""
    text: str | None = None
    """The answer, where there is one all the same; None where the call raises a `ModelError`."""
    reasoning: str = ""
    stop_reason: str = "stop"
    words: str = ""
    """What the error says, in part."""
    retryable: bool = True
    partial: str = ""
    """`ModelError.partial`: what had been said before the fault."""
    status: int | None = None
    endless: bool = False
    """Whether only the timeout of the call ends it."""


# -- what is sent -----------------------------------------------------------------------------------------------------


def _head(status: str = "200 OK", kind: str = "text/event-stream", *more: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *more, "", "")).encode()


def _event(value: object) -> bytes:
    data = value if isinstance(value, str) else json.dumps(value)
    return f"data: {data}\n\n".encode()


def _delta(finish: str | None = None, **fields: object) -> bytes:
    return _event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def _said(*pieces: str) -> bytes:
    return b"".join(_delta(content=piece) for piece in pieces)


_STOP, _DONE = _delta(finish="stop"), _event("[DONE]")
_USAGE = _event({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 6}})
_END = _STOP + _USAGE + _DONE
_WHOLE = _said(*SAID) + _END


def _body(*parts: bytes | float | None, head: bytes | None = None) -> Callable[[int], Iterable[bytes | float | None]]:
    return lambda _: ((_head() if head is None else head), *parts)


def _json(value: object, status: str = "200 OK", *more: str) -> Callable[[int], Iterable[bytes | float | None]]:
    return _body(json.dumps(value).encode(), head=_head(status, "application/json", *more))


def _error(status: str, message: str = "bad luck", *more: str) -> Callable[[int], Iterable[bytes | float | None]]:
    return _json({"error": {"message": message}}, status, *more)


def _message(content: object, finish: str | None = "stop") -> dict[str, object]:
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def _chunked(data: bytes, *, end: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) + (b"0\r\n\r\n" if end else b"")


def _slowly(data: bytes, seconds: float) -> Iterator[bytes | float]:
    for byte in data:
        yield bytes([byte])
        yield seconds


def _first(once: bytes) -> Callable[[int], Iterable[bytes | float | None]]:
    """A fault of the first try only."""
    return lambda number: (once,) if number == 0 else (_head() + _WHOLE,)


def _repeated(data: bytes, seconds: float) -> Iterator[bytes | float]:
    while True:
        yield data
        yield seconds


_PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"
_BOMB = gzip.compress(b"\n" * 200_000_000, 1)
_CONTROLS = "bad \x1b]0;PWNED\x07\x1b[2J\u009b31m\u202eword"
_BROKE = "broke off before the end of its answer"

FAULTS: dict[str, Fault] = {
    # -- an answer is cut
    "cut_by_close": Fault("the connection ends after two pieces", _body(_said(*SAID)), words=_BROKE, partial=TEXT),
    "cut_in_an_event": Fault("it ends in the middle of an event", _body(_said(*SAID) + _STOP[:20]), words=_BROKE, partial=TEXT),
    "cut_in_chunks": Fault(
        "a chunked body ends without its last chunk",
        _body(_chunked(_said(*SAID), end=False), head=_head("200 OK", "text/event-stream", "Transfer-Encoding: chunked")),
        words=_BROKE,
        partial=TEXT,
    ),
    "cut_by_length": Fault(
        "the body is shorter than its length",
        _body(_said(*SAID), head=_head("200 OK", "text/event-stream", "Content-Length: 100000")),
        words=_BROKE,
        partial=TEXT,
    ),
    "cut_by_reset": Fault(
        "the connection is reset after two pieces", _body(_said(*SAID), 0.1, None), words=_BROKE, partial=TEXT
    ),
    "cut_json": Fault("one JSON object, cut", _body(json.dumps(_message(TEXT)).encode()[:-9]), words="malformed JSON"),
    "bad_chunk_size": Fault(
        "a chunked body with a size that is no number",
        _body(_chunked(_said(*SAID), end=False) + b"zz\r\n", head=_head("200 OK", "text/plain", "Transfer-Encoding: chunked")),
        words=_BROKE,
        partial=TEXT,
    ),
    "without_done": Fault("the end is said, [DONE] is not", _body(_said(*SAID) + _STOP), text=TEXT),
    "without_finish": Fault("[DONE] without a reason", _body(_said(*SAID) + _DONE), text=TEXT),
    "hangs_after_the_end": Fault("it says the end and stays", _body(_said(*SAID) + _STOP, 30.0), text=TEXT),
    "hangs_after_done": Fault("it says [DONE] and stays", _body(_WHOLE, 30.0), text=TEXT),
    # -- it comes in another form
    "one_object": Fault("JSON from a server that does not stream", _json(_message(TEXT)), text=TEXT),
    "one_object_cut_by_length": Fault(
        "the same, at the limit", _json(_message(TEXT, "length")), text=TEXT, stop_reason="length"
    ),
    "packed": Fault(
        "gzip that was not asked for",
        _body(gzip.compress(_WHOLE), head=_head("200 OK", "text/event-stream", "Content-Encoding: gzip")),
        text=TEXT,
    ),
    "packed_unknown": Fault(
        "an encoding that was not asked for",
        _body(_WHOLE, head=_head("200 OK", "text/event-stream", "Content-Encoding: br")),
        words="packed its answer as 'br'",
        retryable=False,
    ),
    "packed_wrongly": Fault(
        "it says gzip and is not",
        _body(_WHOLE, head=_head("200 OK", "text/event-stream", "Content-Encoding: gzip")),
        words="packed its answer wrongly",
    ),
    "gzip_bomb": Fault(
        "200 KB that unpack to 200 MB",
        _body(_BOMB, head=_head("200 OK", "text/event-stream", "Content-Encoding: gzip")),
        words="bytes without ending",
        retryable=False,
    ),
    "windows_lines": Fault("lines end as on Windows", _body(_WHOLE.replace(b"\n", b"\r\n")), text=TEXT),
    "old_mac_lines": Fault("lines end with a carriage return", _body(_WHOLE.replace(b"\n", b"\r")), text=TEXT),
    "no_empty_lines": Fault("events without empty lines between", _body(_WHOLE.replace(b"\n\n", b"\n")), text=TEXT),
    "byte_order_mark": Fault("a mark before the first event", _body(b"\xef\xbb\xbf" + _WHOLE), text=TEXT),
    "many_data_lines": Fault(
        "one event in several lines",
        _body(_said("You live ") + b'data: {"choices":\ndata: [{"delta": {"content": "in Lyon."}}]}\n\n' + _END),
        text=TEXT,
    ),
    "byte_by_byte": Fault("each byte by itself", lambda _: chain((_head(),), _slowly(_WHOLE, 0.0)), text=TEXT),
    "comments": Fault(
        "comments between the events", _body(b": hello\n\n" + _said(*SAID) + b": still here\n\n" + _END), text=TEXT
    ),
    "output_parts": Fault(
        "parts of another name",
        _body(_delta(content=[{"type": "text", "text": SAID[0]}, {"type": "output_text", "text": SAID[1]}]) + _END),
        text=TEXT,
    ),
    "parts": Fault("the content in parts", _body(_delta(content=[{"type": "text", "text": TEXT}]) + _END), text=TEXT),
    "two_choices": Fault(
        "a second answer between",
        _body(_said(SAID[0]) + _event({"choices": [{"index": 1, "delta": {"content": "no"}}]}) + _said(SAID[1]) + _END),
        text=TEXT,
    ),
    # -- nothing comes, or no answer
    "empty": Fault("status 200 and nothing else", _body(), words="sent nothing"),
    "no_content": Fault("status 204", _body(head=_head("204 No Content")), words="sent nothing"),
    "no_response": Fault("the connection ends before a response", lambda _: (), words="no connection"),
    "reset": Fault("the connection is reset before a response", lambda _: (None,), words="no connection"),
    "not_http": Fault("another protocol", lambda _: (b"220 smtp.example ready\r\n",), words="no connection"),
    "huge_header": Fault(
        "a header without end", lambda _: chain((b"HTTP/1.1 200 OK\r\nX: ",), repeat(b"x" * 65536, 100)), words="no connection"
    ),
    "page": Fault(
        "a web page, as of a proxy", _body(_PAGE, head=_head("200 OK", "text/html")), words="web page", retryable=False
    ),
    "plain_text": Fault(
        "words that are no stream",
        _body(b"Service starting\n", head=_head("200 OK", "text/plain")),
        words="no answer",
        retryable=False,
    ),
    "empty_answer": Fault("an end without an answer", _body(_END), words="empty answer"),
    "blank_answer": Fault("an answer of blanks", _body(_said(" ", "\n") + _END), words="empty answer"),
    "tool_calls": Fault(
        "a call of a tool",
        _body(_delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{}"}}]) + _delta(finish="tool_calls")),
        words="called a tool",
        retryable=False,
    ),
    "function_call": Fault(
        "the older form of it", _body(_delta(finish="function_call")), words="called a tool", retryable=False
    ),
    "content_filter": Fault(
        "a filter ends the answer",
        _body(_said(SAID[0]) + _delta(finish="content_filter")),
        words="withheld",
        retryable=False,
        partial=SAID[0],
    ),
    "refusal": Fault("a refusal", _body(_delta(refusal="I will not.") + _END), words="I will not.", retryable=False),
    # -- it is malformed
    "malformed_json": Fault(
        "an event that is no JSON", _body(_said(SAID[0]) + _event('{"choices": [')), words="malformed JSON", partial=SAID[0]
    ),
    "deep_json": Fault("JSON that nests without end", _body(_event("[" * 100_000)), words="malformed JSON"),
    "choices_null": Fault("null for the choices", _body(_event({"choices": None})), words="choices of a wrong type"),
    "choices_text": Fault("a text for the choices", _body(_event({"choices": "x"})), words="choices of a wrong type"),
    "choice_number": Fault("a number for a choice", _body(_event({"choices": [7]})), words="choice of a wrong type"),
    "delta_text": Fault("a text for the delta", _body(_event({"choices": [{"delta": "x"}]})), words="delta of a wrong type"),
    "chunk_list": Fault("a list for a chunk", _body(_event([1])), words="no object"),
    "chunk_text": Fault("a text for a chunk", _body(_event('"text"')), words="no object"),
    "content_number": Fault("a number for the content", _body(_delta(content=5) + _END), words="content of a wrong type"),
    "content_list": Fault(
        "texts for the parts", _body(_delta(content=["a"]) + _END), words="part of a content of a wrong type"
    ),
    "finish_number": Fault(
        "a number for the reason", _body(_event({"choices": [{"finish_reason": 1}]})), words="finish_reason of a wrong type"
    ),
    "usage_text": Fault("a text for the usage", _body(_said(*SAID) + _STOP + _event({"choices": [], "usage": "x"})), text=TEXT),
    "usage_absurd": Fault(
        "counts that are none",
        _body(_said(*SAID) + _STOP + _event({"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": "9"}})),
        text=TEXT,
    ),
    "usage_huge": Fault(
        "counts beyond all bounds",
        _body(_said(*SAID) + _STOP + _event({"choices": [], "usage": {"prompt_tokens": 10**300}})),
        text=TEXT,
    ),
    "not_utf8": Fault(
        "bytes that are not UTF-8", _body(_said(SAID[0]) + b"data: \xff\xfe\n\n"), words="not UTF-8", partial=SAID[0]
    ),
    "split_surrogates": Fault("an emoji in two halves", _body(_said("\ud83d", "\ude00") + _END), text="\U0001f600"),
    "lone_surrogate": Fault("one half of an emoji", _body(_said("a\ud83d", "b\udc00") + _END), text="a\ufffdb\ufffd"),
    "lone_last_surrogate": Fault("one half at the end", _body(_said("a", "\ud83d") + _END), text="a\ufffd"),
    # -- it is too much, or takes too long
    "endless_answer": Fault(
        "an answer that goes on",
        lambda _: chain((_head(),), repeat(_said("and on " * 100))),
        text="and on ",
        stop_reason="length",
    ),
    "long_answer": Fault(
        "an answer of 5 MB at once", _body(_said("long " * 1_000_000) + _END), text="long ", stop_reason="length"
    ),
    "endless_line": Fault(
        "a line that goes on",
        lambda _: chain((_head(), b"data: "), repeat(b"x" * 65536)),
        words="bytes without",
        retryable=False,
    ),
    "silence": Fault("nothing at all", lambda _: (30.0,), words="in time", endless=True),
    "silent_stream": Fault(
        "silence after a piece", _body(_said(SAID[0]), 30.0), words="in time", endless=True, partial=SAID[0]
    ),
    "keep_alive": Fault(
        "comments and no answer",
        lambda _: chain((_head(),), _repeated(b": keep-alive\n\n", 0.1)),
        words="in time",
        endless=True,
    ),
    "slow_head": Fault("a head byte by byte", lambda _: _slowly(_head() * 9, 0.1), words="in time", endless=True),
    "slow_body": Fault("a body byte by byte", lambda _: chain((_head(),), _slowly(_WHOLE, 0.1)), words="in time", endless=True),
    # -- it thinks
    "reasoning_content": Fault(
        "thoughts in a field", _body(_delta(reasoning_content="Hm.") + _WHOLE), text=TEXT, reasoning="Hm."
    ),
    "reasoning": Fault("thoughts in another field", _body(_delta(reasoning="Hm.") + _WHOLE), text=TEXT, reasoning="Hm."),
    "thinking_part": Fault(
        "thoughts in a part",
        _body(_delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]) + _WHOLE),
        text=TEXT,
        reasoning="Hm.",
    ),
    "think_tags": Fault("thoughts between tags", _body(_said("<think>Hm.</think>\n\n") + _WHOLE), text=TEXT, reasoning="Hm."),
    "think_tags_split": Fault(
        "tags that come in pieces",
        _body(_said("\n<th", "ink>H", "m.</", "thi", "nk>", "\n") + _WHOLE),
        text=TEXT,
        reasoning="Hm.",
    ),
    "think_closed_only": Fault("the closing tag alone", _body(_said("Hm.\n</think>\n\n") + _WHOLE), text=TEXT, reasoning="Hm."),
    "think_for_ever": Fault(
        "thoughts up to the limit",
        _body(_said("<think>Hm.") + _delta(finish="length") + _DONE),
        words="did not answer",
        retryable=False,
    ),
    # -- it refuses
    "redirect_307": Fault(
        "a redirect to another host",
        _body(head=_head("307 Temporary Redirect", "text/plain", "Location: http://bob:pw@127.0.0.2:9/v1?key=secret")),
        words="redirects to 127.0.0.2:9",
        retryable=False,
        status=307,
    ),
    "redirect_308": Fault(
        "a lasting one",
        _body(head=_head("308 Permanent Redirect", "text/plain", "Location: //elsewhere.example/x")),
        words="redirects to elsewhere.example",
        retryable=False,
        status=308,
    ),
    "unauthorized": Fault("status 401", _error("401 Unauthorized"), words="check the key", retryable=False, status=401),
    "no_such_model": Fault("status 404", _error("404 Not Found"), words="model's name", retryable=False, status=404),
    "too_long": Fault(
        "status 400", _error("400 Bad Request", "context length exceeded"), words="context length", retryable=False, status=400
    ),
    "rate_limited": Fault(
        "status 429", _error("429 Too Many Requests", "slow down", "Retry-After-Ms: 1"), words="slow down", status=429
    ),
    "rate_limited_for_an_hour": Fault(
        "429, and when to come back",
        _error("429 Too Many Requests", "slow down", "Retry-After: 3600"),
        words="slow down",
        status=429,
    ),
    "rate_limited_until_a_date": Fault(
        "429, and the date when to come back",
        _error("429 Too Many Requests", "slow down", "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"),
        words="slow down",
        status=429,
    ),
    "rate_limited_once": Fault(
        "429 at the first try", _first(_head("429 Too Many Requests", "text/plain", "Retry-After-Ms: 1")), text=TEXT
    ),
    "server_error": Fault("status 500", _error("500 Internal Server Error"), words="answered 500: bad luck", status=500),
    "bad_gateway": Fault(
        "502 with a page", _body(_PAGE, head=_head("502 Bad Gateway", "text/html")), words="a web page", status=502
    ),
    "control_signs": Fault(
        "words that would rewrite a terminal", _error("400 Bad Request", _CONTROLS), words="bad ", retryable=False, status=400
    ),
    "error_object": Fault("an error with status 200", _json({"error": {"message": "out of memory"}}), words="out of memory"),
    "overloaded": Fault(
        "an error as the first event",
        _body(_event({"error": {"type": "overloaded_error", "message": "overloaded"}})),
        words="overloaded",
    ),
    "overloaded_late": Fault(
        "an error in the middle",
        _body(_said(SAID[0]) + _event({"error": {"code": 503, "message": "overloaded"}})),
        words="overloaded",
        partial=SAID[0],
        status=503,
    ),
    "invalid_late": Fault(
        "an error that will stay",
        _body(_event({"error": {"type": "invalid_request_error", "message": "no such field"}})),
        words="no such field",
        retryable=False,
    ),
    "error_chunk": Fault(
        "an error that is a chunk",
        _body(_event({"object": "error", "message": "too many tokens", "code": 400})),
        words="too many tokens",
        retryable=False,
        status=400,
    ),
    "error_event": Fault(
        "an event that is named an error",
        _body(_said(SAID[0]) + b'event: error\ndata: {"message": "overloaded", "type": "server_error"}\n\n' + _END),
        words="overloaded",
        partial=SAID[0],
    ),
    "error_event_in_words": Fault(
        "the same, in words",
        _body(_said(SAID[0]) + b"event: error\ndata: overloaded\n\n" + _END),
        words="overloaded",
        partial=SAID[0],
    ),
    "error_line": Fault(
        "a line that is named an error",
        _body(_said(SAID[0]) + b'error: {"code": 500, "message": "slot unavailable"}\n\n' + _DONE),
        words="slot unavailable",
        partial=SAID[0],
        status=500,
    ),
    "named_events": Fault("events with names", _body(_WHOLE.replace(b"data:", b"event: chunk\ndata:")), text=TEXT),
    "gave_up": Fault("an end by an error", _body(_said(SAID[0]) + _delta(finish="error")), words="gave up", partial=SAID[0]),
    "reset_once": Fault("a reset at the first try", lambda number: (None,) if number == 0 else (_head() + _WHOLE,), text=TEXT),
    "whole": Fault("no fault at all", _body(_WHOLE), text=TEXT),
}
