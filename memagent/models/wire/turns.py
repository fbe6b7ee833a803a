"""Taking turns in an event loop in which hundreds of calls wait for a network.

A loop runs everything that is ready before it looks for anything new, and servers answer in bursts: calls whose bytes come
together would keep everybody else waiting for as long as all of them compute. So each step of a call, its beginning and every
reading of bytes, is taken in turn: a few, then whatever else is ready in the loop. Threads, on which stores are read and
written, wait for the interpreter instead, and lose it whenever they ask the database; as long as one is at work, calls pause
after some milliseconds. Bytes that come meanwhile are read together, so that a loop that is behind has fewer steps to take.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

_STEPS = 2
"""Steps that are taken between two looks at what else is ready; one takes up to a millisecond."""
_WORK, _LONGEST_WORK = 0.002, 0.01
"""Seconds of steps after which threads have twice as long; what took longer was not work alone, but a machine that is busy."""


class Turns:
    """The calls of one loop that could go on."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._given = False
        """Whether a turn is being given, or will be."""
        self._worked = 0.0
        """Seconds since the last pause."""
        self.threads = 0
        """Functions that are under way on threads and are short of the interpreter; others count them."""

    def give(self, waiter: asyncio.Future[None]) -> None:
        """Let who awaits this go on in turn; `waiter` belongs to the running loop."""
        self._waiting.append(waiter)
        if not self._given:
            self._given = True
            asyncio.get_running_loop().call_soon(self._next)

    async def take(self) -> None:
        """Wait for a turn."""
        waiter = asyncio.get_running_loop().create_future()
        self.give(waiter)
        await waiter

    def _next(self) -> None:
        began, steps = time.perf_counter(), 0
        while self._waiting and steps < _STEPS:
            waiter = self._waiting.popleft()
            if not waiter.done():  # cancelled, or out of time
                waiter.set_result(None)
                steps += 1
        asyncio.get_running_loop().call_soon(self._taken, began)  # comes after the steps

    def _taken(self, began: float) -> None:
        self._worked += time.perf_counter() - began
        self._given = bool(self._waiting)
        if self._waiting and self.threads and self._worked < _WORK:
            self._next()
            return
        pause, self._worked = 2 * min(self._worked, _LONGEST_WORK), 0.0
        if self._waiting and self.threads:
            asyncio.get_running_loop().call_later(pause, self._next)
        elif self._waiting:
            self._next()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns() -> Turns:
    """Those of the running loop."""
    loop = asyncio.get_running_loop()
    found = _turns.get(loop)
    if found is None:
        found = _turns[loop] = Turns()
    return found
