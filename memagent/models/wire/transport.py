"""Moves the bytes of an exchange: `sync_pieces` for synchronous code, `async_pieces` for asyncio.

Each call has a connection of its own, which ends with it. So nothing is shared between threads, event loops or processes, a
call that is given up stops at the server too, and a connection that a server has silently dropped is never taken again; the
price is one handshake for each answer. httpx's transports are used without its client, which would log addresses with the
secrets in them, follow redirects, and unpack what comes without a bound.

`deadline` is on the clock of `time.monotonic` and holds for the whole call. asyncio ends a step in time; a blocking read is
ended by a timer that shuts the socket.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from memagent.models.wire.answer import ChatAnswer
from memagent.models.wire.endpoint import Endpoint, is_loopback
from memagent.models.wire.exchange import Disconnected, Expired, Head, Open, Outcome, Read, Step, Wait

Exchange = Generator[Step | str, Outcome, ChatAnswer]


def sync_pieces(exchange: Exchange, endpoint: Endpoint, body: bytes, *, deadline: float) -> Generator[str, None, ChatAnswer]:
    """Run an exchange: yield the pieces, return the answer. Raises what the exchange raises."""
    line = _Line(endpoint, body, deadline)
    outcome: Outcome = None
    try:
        while True:
            try:
                step = exchange.throw(outcome) if isinstance(outcome, Exception) else exchange.send(outcome)
            except StopIteration as end:
                answer: ChatAnswer = end.value
                return answer
            outcome = None
            if isinstance(step, str):
                yield step
            else:
                outcome = line.take(step)
    finally:
        line.close()


async def async_pieces(
    exchange: Exchange, endpoint: Endpoint, body: bytes, *, deadline: float
) -> AsyncGenerator[str | ChatAnswer, None]:
    """Run an exchange in asyncio: yield the pieces, and last the answer. Raises what the exchange raises."""
    line = _AsyncLine(endpoint, body, deadline)
    outcome: Outcome = None
    try:
        while True:
            try:
                step = exchange.throw(outcome) if isinstance(outcome, Exception) else exchange.send(outcome)
            except StopIteration as end:
                yield end.value
                return
            outcome = None
            if isinstance(step, str):
                yield step
            else:
                outcome = await line.take(step)
    finally:
        await line.close()


class _Line:
    """The connection of one call, made anew for each try."""

    def __init__(self, endpoint: Endpoint, body: bytes, deadline: float) -> None:
        self._endpoint, self._body, self._deadline = endpoint, body, deadline
        self._transport: httpx.HTTPTransport | None = None
        self._stream: httpx.SyncByteStream | None = None
        self._parts: Iterator[bytes] = iter(())
        self._socket: Any = None
        self._late = False
        self._timer = _timer(deadline - time.monotonic(), self._expire)

    def take(self, step: Step) -> Outcome:
        """Do what an exchange asks for. Failures are given back, for it to judge."""
        left = self._deadline - time.monotonic()
        try:
            match step:
                case Wait():
                    if step.seconds >= left:  # a wait that cannot end in time is not begun
                        return Expired()
                    time.sleep(step.seconds)
                    return None
                case Open():
                    self._hang_up()
                    return self._open(left) if left > 0 else Expired()
                case Read():
                    return self._read(step.within, left)
        except httpx.TransportError as error:
            late = self._late or isinstance(error, httpx.TimeoutException)
            return Expired() if late else Disconnected(type(error).__name__)

    def _open(self, left: float) -> Head:
        self._transport = httpx.HTTPTransport(verify=_certificates(), proxy=_proxy(self._endpoint))
        response = self._transport.handle_request(_request(self._endpoint, self._body, left, self._trace))
        assert isinstance(response.stream, httpx.SyncByteStream)
        self._stream, self._parts = response.stream, iter(response.stream)
        return _head(response)

    def _read(self, within: float | None, left: float) -> Outcome:
        if within is None:
            data = next(self._parts, b"")
            return Expired() if self._late else data
        patience = _timer(min(within, left), self._shut)
        try:
            return next(self._parts, b"")
        except httpx.TransportError:
            return b""
        finally:
            patience.cancel()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Note the socket, the plain one and then the one over it that encrypts."""
        if event.startswith("connection.") and event.endswith("complete"):
            stream = info.get("return_value")
            self._socket = getattr(stream, "get_extra_info", lambda _: None)("socket") or self._socket
            if self._late:
                self._shut()

    def _expire(self) -> None:
        self._late = True
        self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # closed already; the base class's, since that of TLS would also drop its state
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _hang_up(self) -> None:
        for one in (self._stream, self._transport):
            if one is not None:
                one.close()
        self._stream, self._transport, self._socket = None, None, None

    def close(self) -> None:
        self._timer.cancel()
        self._hang_up()


class _AsyncLine:
    """As `_Line`, for asyncio, where a step that takes too long is cancelled."""

    def __init__(self, endpoint: Endpoint, body: bytes, deadline: float) -> None:
        self._endpoint, self._body, self._deadline = endpoint, body, deadline
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._stream: httpx.AsyncByteStream | None = None
        self._parts: AsyncIterator[bytes] | None = None

    async def take(self, step: Step) -> Outcome:
        """Do what an exchange asks for. Failures are given back, for it to judge."""
        left = self._deadline - time.monotonic()
        try:
            match step:
                case Wait():
                    if step.seconds >= left:
                        return Expired()
                    await asyncio.sleep(step.seconds)
                    return None
                case Open():
                    await self.close()
                    async with asyncio.timeout(left):
                        return await self._open(left)
                case Read():
                    async with asyncio.timeout(left if step.within is None else min(step.within, left)):
                        return await self._read()
        except (TimeoutError, httpx.TransportError) as error:
            if isinstance(step, Read) and step.within is not None:
                return b""
            late = isinstance(error, TimeoutError | httpx.TimeoutException)
            return Expired() if late else Disconnected(type(error).__name__)

    async def _open(self, left: float) -> Head:
        self._transport = httpx.AsyncHTTPTransport(verify=_certificates(), proxy=_proxy(self._endpoint))
        response = await self._transport.handle_async_request(_request(self._endpoint, self._body, left))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream, self._parts = response.stream, aiter(response.stream)
        return _head(response)

    async def _read(self) -> bytes:
        return b"" if self._parts is None else await anext(self._parts, b"")

    async def close(self) -> None:
        for one in (self._stream, self._transport):
            if one is not None:
                await one.aclose()
        self._stream, self._transport, self._parts = None, None, None


def _request(endpoint: Endpoint, body: bytes, left: float, trace: Any = None) -> httpx.Request:
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "memagent",
        "Connection": "close",
        **endpoint.headers,
    }
    extensions: dict[str, Any] = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), left)}
    if trace is not None:
        extensions["trace"] = trace
    return httpx.Request("POST", endpoint.url, headers=headers, content=body, extensions=extensions)


def _head(response: httpx.Response) -> Head:
    return Head(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def _timer(seconds: float, then: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(max(0.0, seconds), then)
    timer.daemon = True
    timer.start()
    return timer


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Loading the certificates takes some 20 ms."""
    return httpx.create_ssl_context()


def _proxy(endpoint: Endpoint) -> str | None:
    """The proxy that the environment names for this server, none for one on this machine."""
    if is_loopback(endpoint.url) or proxy_bypass(endpoint.host):
        return None
    named = getproxies()
    return named.get(endpoint.url.partition(":")[0]) or named.get("all")
