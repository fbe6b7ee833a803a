"""What comes on a connection of asyncio, kept until its call takes it in its turn.

The streams of asyncio wake whoever waits as soon as bytes come, and a timeout around each reading costs as much as the
reading. Here who waits is woken in turn (`turns`), takes what has come in parts of bounded size, and one timer serves all
readings up to the same time.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from memagent.models.wire.turns import turns

_PART = 4_096
"""Most bytes that are taken in a turn: about a millisecond of work."""
_HELD = 262_144
"""Bytes that are held at most, or little more: then a server that is faster than we has to wait."""


def seconds_left(until: float) -> float:
    """Seconds up to a time on the clock of `time.monotonic`. Raises `TimeoutError` when it is over."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class Inbox(asyncio.Protocol):
    """The bytes of one connection, for one reader; made in a running loop."""

    def __init__(self) -> None:
        self._turns, self._loop = turns(), asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._paused = self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        """For which the timer is set."""

    # -- what a transport calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a transport, also the encrypted one that follows a plain one."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hold what came."""
        self._held += data
        if len(self._held) > _HELD and not self._paused:
            self._pause(True)
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more will come, whatever the reason."""
        self._ended, self._error = True, error
        self._wake()

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if self._transport is not None:
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._turns.give(waiter)

    # -- what a call calls ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, as fast as they are taken; who waits for an answer waits for that too."""
        if self._transport is not None:
            self._transport.write(data)

    async def read(self, until: float) -> bytes:
        """Bytes that came; b"" at the end of the connection. Raises `OSError` where it broke, `TimeoutError` included."""
        self._watch(until)
        waiter = self._waiter = self._loop.create_future()
        if self._held or self._ended:
            self._wake()
        await waiter
        data = bytes(self._held[:_PART])
        del self._held[:_PART]
        if self._paused and len(self._held) <= _HELD:
            self._pause(False)
        if not data and self._error is not None:
            raise self._error
        return data

    def _watch(self, until: float) -> None:
        left = seconds_left(until)
        if until != self._until:
            if self._timer is not None:
                self._timer.cancel()
            self._until, self._timer = until, self._loop.call_later(left, self._expire)

    def _expire(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(TimeoutError())

    def close(self) -> None:
        """Hang up at once; a closing handshake would have to be waited for."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
