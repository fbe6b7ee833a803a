"""Many model calls at once, but never more than a limit; tried again where that can help; stopped together.

A call that fails for good raises its `ModelError`, and others go on. What would make every call fail (a wrong key, a wrong
name, a server that is gone) stops them all: calls not yet made raise `CallCancelled`, which no handler of a single failure
takes for one, and `error` holds the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from memagent.errors import ConfigError, InputError, MemAgentError, ModelError

T = TypeVar("T")
R = TypeVar("R")

FATAL_STATUS = (301, 302, 303, 307, 308, 401, 403, 404)
"""Answers of a server after which no call can succeed: no right to, no such model, or another address."""


class CallCancelled(MemAgentError):
    """A call was not made because all calls were stopped."""

    code = "stopped"


class CallPool:
    """At most `size` calls at once.

    A call that failed in a way that may pass is made up to `tries` times, after pauses of `pause` seconds that double. After
    `most_failures` of such calls in a row that failed for good, all are stopped.
    """

    def __init__(self, size: int, *, tries: int = 3, pause: float = 1.0, most_failures: int = 20) -> None:
        if size < 1 or tries < 1:
            raise InputError(f"calls at once and tries are 1 or more, not {size} and {tries}")
        self.size = size
        self.error: MemAgentError | None = None
        """Why all calls were stopped, if that was an error."""
        self._tries, self._pause, self._most_failures = tries, pause, most_failures
        self._slots = threading.Semaphore(size)
        self._stopped = threading.Event()
        self._failures, self._guard = 0, threading.Lock()

    def run(self, call: Callable[[], T]) -> T:
        """Make a call when there is a free place. Raises its `ModelError`, or `CallCancelled`."""
        for number in range(self._tries):
            with self._slots:
                self.go_on()
                try:
                    result = call()
                except (ModelError, ConfigError) as error:
                    failed = error
                else:
                    self._failures = 0
                    return result
            self._judge(failed, last=number == self._tries - 1)
            self._stopped.wait(self._pause * 2**number)
        raise AssertionError("unreachable")

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """What the function gives for each item, in order, `size` at once. An error stops all calls and is raised."""
        given = list(items)
        with ThreadPoolExecutor(min(self.size, len(given)) or 1) as threads:
            futures = [threads.submit(function, one) for one in given]
            try:
                whole = not wait(futures, return_when=FIRST_EXCEPTION).not_done
            except BaseException:  # Ctrl-C
                whole = False
                raise
            finally:
                if not whole:
                    self.stop()
                    threads.shutdown(wait=False, cancel_futures=True)
        errors = [error for one in futures if not one.cancelled() and (error := one.exception()) is not None]
        if errors:
            self.stop()
            raise next((error for error in errors if not isinstance(error, CallCancelled)), self.error or errors[0])
        return [future.result() for future in futures]

    def stop(self, error: MemAgentError | None = None) -> None:
        """Make no further call."""
        with self._guard:
            self.error = self.error or error
        self._stopped.set()

    def go_on(self) -> None:
        """Raise `CallCancelled` when no further call is to be made."""
        if self._stopped.is_set():
            raise CallCancelled(f"no further call is made: {self.error or 'interrupted'}")

    def _judge(self, error: ModelError | ConfigError, *, last: bool) -> None:
        """Raise the error unless the call may be made again."""
        hopeless = isinstance(error, ConfigError) or error.status in FATAL_STATUS
        if not hopeless and isinstance(error, ModelError) and error.retryable and not last:
            return
        if not hopeless and isinstance(error, ModelError) and error.retryable:
            with self._guard:
                self._failures += 1
                hopeless = self._failures >= self._most_failures
        if hopeless:
            self.stop(error)
            self.go_on()
        raise error
