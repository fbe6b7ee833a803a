"""Threads for engines that compute in this process, when asyncio asks for an answer.

They are apart from those that serve the database: an answer takes seconds, a search milliseconds, and the one should not
wait for the other. Their number is `MEMAGENT_THREADS`, 8 by default; models behind a network use none.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from memagent.errors import ConfigError

T = TypeVar("T")
THREADS = "MEMAGENT_THREADS"
"""Environment variable: threads of each of the two pools, of models and of the database."""


def thread_count() -> int:
    """How many threads a pool may have. Raises `ConfigError` for what is no such number."""
    given = os.environ.get(THREADS, "8")
    if not given.isdecimal() or not 1 <= int(given) <= 1000:
        raise ConfigError(f"{THREADS} is a number of threads from 1 to 1000, not {given!r}")
    return int(given)


@lru_cache(maxsize=1)
def _executor(_process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_count(), thread_name_prefix="memagent-model")


def model_threads() -> ThreadPoolExecutor:
    """The pool of this process; one that was forked makes its own, since threads are not inherited."""
    return _executor(os.getpid())


async def in_threads(steps: Generator[str, None, T]) -> AsyncGenerator[str | T, None]:
    """What a generator yields, and last what it returns, each step on a thread of the pool."""
    pool, turn = model_threads(), threading.Lock()

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
            ended, piece = await asyncio.get_running_loop().run_in_executor(pool, step)
            yield piece
    finally:
        if not ended:
            pool.submit(close)
