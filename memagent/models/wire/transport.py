"""Moves the bytes of an exchange: `sync_pieces` for synchronous code, `async_pieces` for asyncio.

Both speak HTTP/1.1 by the state machine of h11 over a plain socket. Each call has a connection of its own, which ends with it:
nothing is shared between threads, event loops or processes, a call that is given up stops at the server too, and a connection
that a server has silently dropped is never taken again; the price is one handshake for each answer. An HTTP client was tried:
it logs addresses with the secrets in them, follows redirects, unpacks what comes without a bound, keeps time for each read and
not for the call, and took more than twice the CPU.

`deadline` is on the clock of `time.monotonic` and holds for the whole call.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import certifi
import h11

from memagent.models.wire.answer import ChatAnswer
from memagent.models.wire.endpoint import Endpoint, is_loopback
from memagent.models.wire.exchange import Disconnected, Expired, Head, Open, Outcome, Read, Step, Wait

Exchange = Generator[Step | str, Outcome, ChatAnswer]

_AT_ONCE = 65_536
"""Most bytes that are read at once, and of the head of a response."""


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
        line.close()


class _Line:
    """The connection of one call, made anew for each try."""

    def __init__(self, endpoint: Endpoint, body: bytes, deadline: float) -> None:
        self._route, self._http = _route(endpoint), _Http(endpoint, body)
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
        self._socket = socket.create_connection((route.host, route.port), timeout=_left(until))
        if route.tunnel:
            self._socket.sendall(route.tunnel)
            told = b""
            while not _is_through(told):
                told += self._socket.recv(_AT_ONCE) or _HUNG_UP
        if route.tls:
            self._socket = _certificates().wrap_socket(self._socket, server_hostname=route.name)
        self._socket.settimeout(_left(until))
        self._socket.sendall(self._http.begin(route))

    def _next(self, until: float) -> Head | bytes:
        assert self._socket is not None
        while (found := self._http.next()) is None:
            self._socket.settimeout(_left(until))
            self._http.feed(self._socket.recv(_AT_ONCE))
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_OPENED_AT_ONCE = 32
"""Connections that are being made at once in a loop: hundreds of calls that begin together leave it room for others."""


_opening: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class _AsyncLine:
    """As `_Line`, for asyncio."""

    def __init__(self, endpoint: Endpoint, body: bytes, deadline: float) -> None:
        self._route, self._http = _route(endpoint), _Http(endpoint, body)
        self._deadline = deadline
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def take(self, step: Step) -> Outcome:
        """Do what an exchange asks for. Failures are given back, for it to judge."""
        within = step.within if isinstance(step, Read) else None
        until = self._deadline if within is None else min(self._deadline, time.monotonic() + within)
        try:
            match step:
                case Wait():
                    return _slept(step, until) or await asyncio.sleep(step.seconds)  # type: ignore[func-returns-value]
                case Open():
                    opening = _opening.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_OPENED_AT_ONCE))
                    async with asyncio.timeout(_left(until)), opening:
                        await self._connect()
            return await self._next(until)
        except (OSError, h11.ProtocolError) as error:
            return _failure(error, step)

    async def _connect(self) -> None:
        self.close()
        route = self._route
        straight = route.tls and not route.tunnel
        self._reader, self._writer = await asyncio.open_connection(
            *(route.host, route.port),
            ssl=_certificates() if straight else None,
            server_hostname=route.name if straight else None,
        )
        if route.tunnel:
            self._writer.write(route.tunnel)
            told = b""
            while not _is_through(told):
                told += await self._reader.read(_AT_ONCE) or _HUNG_UP
            await self._writer.start_tls(_certificates(), server_hostname=route.name)
        self._writer.write(self._http.begin(route))
        await self._writer.drain()

    async def _next(self, until: float) -> Head | bytes:
        assert self._reader is not None
        while (found := self._http.next()) is None:
            async with asyncio.timeout(_left(until)):
                data = await self._reader.read(_AT_ONCE)
            self._http.feed(data)
        return found

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()  # a closing handshake would have to be waited for
            self._reader = self._writer = None


# -- HTTP -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Route:
    """The way to a server: straight, or over a proxy."""

    host: str
    """Where to connect to."""
    port: int
    name: str
    """The server's own host, for which its certificate is."""
    tls: bool
    target: str
    """What is asked for: a path, or for a proxy that passes on, the whole address."""
    tunnel: bytes = b""
    """What a proxy is told first, where what follows is between the server and us."""
    headers: tuple[tuple[str, str], ...] = ()
    """What is said to the proxy."""


def _route(endpoint: Endpoint) -> _Route:
    parts = urlsplit(endpoint.url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    found = None if is_loopback(endpoint.url) or proxy_bypass(endpoint.host) else _proxy(parts.scheme)
    if found is None:
        return _Route(endpoint.host, port, endpoint.host, tls, path)
    proxy = urlsplit(found if "//" in found else f"http://{found}")
    login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}"
    said = (("Proxy-Authorization", f"Basic {base64.b64encode(login.encode()).decode()}"),) if proxy.username else ()
    place = f"[{endpoint.host}]:{port}" if ":" in endpoint.host else f"{endpoint.host}:{port}"
    lines = (f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{name}: {value}" for name, value in said), "", "")
    return _Route(
        host=proxy.hostname or "",
        port=proxy.port or 80,
        name=endpoint.host,
        tls=tls,
        target=path if tls else endpoint.url,
        tunnel="\r\n".join(lines).encode() if tls else b"",
        headers=() if tls else said,
    )


def _proxy(scheme: str) -> str | None:
    """The HTTP proxy that the environment names; others than HTTP proxies are not spoken to."""
    named = getproxies()
    found = named.get(scheme) or named.get("all")
    return None if found is None or found.startswith("socks") else found


_HUNG_UP = b"\r\n\r\n"
"""Stands for the end of what a proxy said, where it says no more."""


def _is_through(told: bytes) -> bool:
    """Whether a proxy has let us through; False as long as it has not said all. Raises `OSError` when it has not."""
    ended = b"\r\n\r\n" in told
    if ended and told.split(b" ", 2)[1:2] != [b"200"]:
        raise ConnectionRefusedError("the proxy refuses")
    return ended


class _Http:
    """What is said and heard on one connection after another."""

    def __init__(self, endpoint: Endpoint, body: bytes) -> None:
        self._endpoint, self._body = endpoint, body
        self._machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=_AT_ONCE)

    def begin(self, route: _Route) -> bytes:
        """The request, for a fresh connection."""
        self._machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=_AT_ONCE)
        headers = {
            "Host": urlsplit(self._endpoint.url).netloc,
            "Content-Type": "application/json",
            "Content-Length": str(len(self._body)),
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "memagent",
            "Connection": "close",
            **self._endpoint.headers,
            **dict(route.headers),
        }
        request = h11.Request(method="POST", target=route.target, headers=list(headers.items()))
        events = (request, h11.Data(data=self._body), h11.EndOfMessage())
        return b"".join(self._machine.send(event) or b"" for event in events)

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


def _left(until: float) -> float:
    """Seconds up to a time. Raises `TimeoutError` when it is over."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


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
