"""Moves the bytes of an exchange: `sync_pieces` for synchronous code, `async_pieces` for asyncio.

Both speak HTTP/1.1 by the state machine of h11 over a plain socket. Each call has a connection of its own, which ends with it:
nothing is shared between threads, event loops or processes, a call that is given up stops at the server too, and a connection
that a server has silently dropped is never taken again; the price is one handshake for each answer. An HTTP client was tried:
it logs addresses with the secrets in them, follows redirects, unpacks what comes without a bound, keeps time for each read and
not for the call, and took more than twice the CPU.

`deadline` is on the clock of `time.monotonic` and holds for the whole call. A call without a body is a GET, with one a POST.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import certifi
import h11

from memagent.models.wire.endpoint import Endpoint
from memagent.models.wire.exchange import Disconnected, Expired, Head, Open, Outcome, Read, Step, Wait, whole
from memagent.models.wire.inbox import Inbox, seconds_left
from memagent.models.wire.route import HUNG_UP, Route, is_through, route_to

T = TypeVar("T")
Exchange = Generator[Step | str, Outcome, T]

_AT_ONCE = 65_536
"""Most bytes that are read at once, and of the head of a response."""


def sync_pieces(exchange: Exchange[T], endpoint: Endpoint, body: bytes, *, deadline: float) -> Generator[str, None, T]:
    """Run an exchange: yield the pieces, return the answer. Raises what the exchange raises."""
    line = _Line(endpoint, body, deadline)
    outcome: Outcome = None
    try:
        while True:
            try:
                step = exchange.throw(outcome) if isinstance(outcome, Exception) else exchange.send(outcome)
            except StopIteration as end:
                answer: T = end.value
                return answer
            outcome = None
            if isinstance(step, str):
                yield step
            else:
                outcome = line.take(step)
    finally:
        line.close()


async def async_pieces(
    exchange: Exchange[T], endpoint: Endpoint, body: bytes, *, deadline: float
) -> AsyncGenerator[str | T, None]:
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
        line.close()


async def async_whole(endpoint: Endpoint, body: bytes, *, deadline: float, most_bytes: int) -> bytes:
    """The whole body of one response. Raises `BadAnswer`, `Expired` and `Disconnected`; given up, the connection is closed."""
    async with aclosing(async_pieces(whole(most_bytes=most_bytes), endpoint, body, deadline=deadline)) as pieces:
        [answer] = [piece async for piece in pieces if isinstance(piece, bytes)]
    return answer


class _Line:
    """The connection of one call, made anew for each try."""

    def __init__(self, endpoint: Endpoint, body: bytes, deadline: float) -> None:
        self._route, self._http = route_to(endpoint), _Http(endpoint, body)
        self._deadline = deadline
        self._socket: socket.socket | None = None

    def take(self, step: Step) -> Outcome:
        """Do what an exchange asks for. Failures are given back, for it to judge."""
        within = step.within if isinstance(step, Read) else None
        until = self._deadline if within is None else min(self._deadline, time.monotonic() + within)
        try:
            match step:
                case Wait():
                    return _slept(step, until) or time.sleep(step.seconds)  # type: ignore[func-returns-value]
                case Open():
                    self._connect(until)
            return self._next(until)
        except (OSError, h11.ProtocolError) as error:
            return _failure(error, step)

    def _connect(self, until: float) -> None:
        self.close()
        route = self._route
        self._socket = socket.create_connection((route.host, route.port), timeout=seconds_left(until))
        if route.tunnel:
            self._socket.sendall(route.tunnel)
            told = b""
            while not is_through(told):
                told += self._socket.recv(_AT_ONCE) or HUNG_UP
        if route.tls:
            self._socket = _certificates().wrap_socket(self._socket, server_hostname=route.name)
        self._socket.settimeout(seconds_left(until))
        self._socket.sendall(self._http.begin(route))

    def _next(self, until: float) -> Head | bytes:
        assert self._socket is not None
        while (found := self._http.next()) is None:
            self._socket.settimeout(seconds_left(until))
            self._http.feed(self._socket.recv(_AT_ONCE))
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _connections() -> int:
    """Most connections that a loop has at once: of the files that the process may open, a part is left to databases and others.

    Calls beyond wait for a connection to end. `ulimit -n` says how many files those are, often 1,024.
    """
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # Windows, which has no such limit
        return 1_000_000
    files = getrlimit(RLIMIT_NOFILE)[0]
    return files * 3 // 4 if 0 < files < 1_000_000 else 1_000_000


class _AsyncLine:
    """As `_Line`, for asyncio."""

    def __init__(self, endpoint: Endpoint, body: bytes, deadline: float) -> None:
        self._route, self._http = route_to(endpoint), _Http(endpoint, body)
        self._deadline = deadline
        self._inbox: Inbox | None = None
        self._place: asyncio.Semaphore | None = None
        """What is given back when the connection ends."""

    async def take(self, step: Step) -> Outcome:
        """Do what an exchange asks for. Failures are given back, for it to judge."""
        within = step.within if isinstance(step, Read) else None
        until = self._deadline if within is None else min(self._deadline, time.monotonic() + within)
        try:
            match step:
                case Wait():
                    self.close()
                    return _slept(step, until) or await asyncio.sleep(step.seconds)  # type: ignore[func-returns-value]
                case Open():
                    async with asyncio.timeout(seconds_left(until)):
                        await self._connect(until)
            return await self._next(until)
        except (OSError, h11.ProtocolError) as error:
            return _failure(error, step)

    async def _connect(self, until: float) -> None:
        self.close()
        route, loop = self._route, asyncio.get_running_loop()
        place = _places.setdefault(loop, asyncio.Semaphore(_connections()))
        await place.acquire()
        self._place = place
        straight = route.tls and not route.tunnel
        plain, self._inbox = await loop.create_connection(
            *(Inbox, route.host, route.port),
            ssl=_certificates() if straight else None,
            server_hostname=route.name if straight else None,
        )
        if route.tunnel:
            self._inbox.write(route.tunnel)
            told = b""
            while not is_through(told):
                told += await self._inbox.read(until) or HUNG_UP
            secure = await loop.start_tls(plain, self._inbox, _certificates(), server_hostname=route.name)
            assert secure is not None
            self._inbox.connection_made(secure)
        self._inbox.write(self._http.begin(route))

    async def _next(self, until: float) -> Head | bytes:
        assert self._inbox is not None
        while (found := self._http.next()) is None:
            self._http.feed(await self._inbox.read(until))
        return found

    def close(self) -> None:
        if self._inbox is not None:
            self._inbox.close()
            self._inbox = None
        if self._place is not None:
            self._place.release()
            self._place = None


# -- HTTP -------------------------------------------------------------------------------------------------------------

_SENT = h11.EndOfMessage()


@lru_cache(maxsize=32)
def _request(endpoint: Endpoint, route: Route, method: str) -> tuple[h11.Request, bytes]:
    """A request without its body, and its head without the end; to check the headers takes longer than all else of it."""
    headers = {
        "Host": urlsplit(endpoint.url).netloc,
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "memagent",
        "Connection": "close",
        **endpoint.headers,
        **dict(route.headers),
    }
    request = h11.Request(method=method, target=route.target, headers=list(headers.items()))
    head = h11.Connection(h11.CLIENT).send(request)
    return request, head.removesuffix(b"\r\n")


class _Http:
    """What is said and heard on one connection after another."""

    def __init__(self, endpoint: Endpoint, body: bytes) -> None:
        self._endpoint, self._body = endpoint, body
        self._machine: h11.Connection

    def begin(self, route: Route) -> bytes:
        """The request, for a fresh connection."""
        request, head = _request(self._endpoint, route, "POST" if self._body else "GET")
        self._machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=_AT_ONCE)
        self._machine.send(request)
        self._machine.send(_SENT)
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(self._body), self._body)

    def feed(self, data: bytes) -> None:
        """Take what came; b"" is the end of the connection."""
        self._machine.receive_data(data)

    def next(self) -> Head | bytes | None:
        """The head of the response, bytes of its body, b"" at its end; None when more must come first."""
        event: Any = h11.InformationalResponse
        while True:
            event = self._machine.next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Response):
                return Head(event.status_code, {name.decode(): value.decode("latin-1") for name, value in event.headers})
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if not isinstance(event, h11.InformationalResponse):
                return b""


# -- time and failures ------------------------------------------------------------------------------------------------


def _slept(step: Wait, until: float) -> Outcome:
    """`Expired` for a wait that cannot end in time, which is not begun."""
    return Expired() if step.seconds >= until - time.monotonic() else None


def _failure(error: Exception, step: Step) -> Outcome:
    if isinstance(step, Read) and step.within is not None:
        return b""
    return Expired() if isinstance(error, TimeoutError) else Disconnected(type(error).__name__)


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Loading the certificates takes some 20 ms."""
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=None if named else certifi.where())
