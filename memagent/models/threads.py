"""Threads for asyncio: what computes here, or writes to a disk, runs on them; what waits for a network uses none.

There is a pool for each purpose, so that what is quick does not wait for what is slow: "store" serves the verbs of stores and
memories, "model" the engines that answer in this process, each with up to `MEMAGENT_THREADS` threads, 8 by default. "turn" is
one thread, on which agents store what is said and recall: hundreds that begin together take turns, and others need not queue
behind them. As long as a verb is under way, it rests after each step for as long as it computed, and calls over a network
pause too (`memagent.models.wire.turns`), since all share one interpreter.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

from memagent.errors import ConfigError
from memagent.models.wire.turns import Turns, turns

P = ParamSpec("P")
T = TypeVar("T")
THREADS = "MEMAGENT_THREADS"
"""Environment variable: most threads of the pools for the database and for local models, each."""


def thread_count() -> int:
    """How many threads a pool may have. Raises `ConfigError` for what is no such number."""
    given = os.environ.get(THREADS) or "8"
    if not given.isdecimal() or not 1 <= int(given) <= 1000:
        raise ConfigError(f"{THREADS} is a number of threads from 1 to 1000, not {given!r}")
    return int(given)


@cache
def _pool(purpose: str, _process: int) -> ThreadPoolExecutor:
    size = 1 if purpose == "turn" else thread_count()
    return ThreadPoolExecutor(size, thread_name_prefix=f"memagent-{purpose}")


async def on_thread(purpose: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function on a thread of the pool that is for a purpose.

    One that has begun when the task is cancelled runs to its end, one that has not does not happen. A process that was forked
    makes pools of its own, since threads are not inherited.
    """
    pool, calls, call = _pool(purpose, os.getpid()), turns(), partial(function, *args, **kwargs)
    if purpose == "turn":
        call = partial(_giving_way, calls, call)
    calls.threads += purpose == "store"
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, call)
    finally:
        calls.threads -= purpose == "store"


def _giving_way(calls: Turns, call: Callable[[], T]) -> T:
    """Make a call, then leave the interpreter to the verbs that are under way for as long as it computed."""
    began = time.thread_time()
    try:
        return call()
    finally:
        if calls.threads:
            time.sleep(min(time.thread_time() - began, 0.02))


async def in_threads(steps: Generator[str, None, T]) -> AsyncGenerator[str | T, None]:
    """What a generator yields, and last what it returns, each step on a thread for models."""
    turn = threading.Lock()

    def step() -> tuple[bool, str | T]:
        with turn:
            try:
                return False, next(steps)
            except StopIteration as end:
                return True, end.value

    def close() -> None:
        with turn:  # a step that was under way when its task was cancelled ends first
            steps.close()

    ended = False
    try:
        while not ended:
            ended, piece = await on_thread("model", step)
            yield piece
    finally:
        if not ended:
            _pool("model", os.getpid()).submit(close)
