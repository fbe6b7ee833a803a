"""What a process owes to the one that started it: locks whose threads stayed in the parent, and an end when it is gone."""

from __future__ import annotations

import multiprocessing
import os
import threading
from types import TracebackType
from weakref import WeakSet


class ForkLock:
    """A reentrant lock that no child inherits from a thread that it does not have."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.interrupted = False
        """Whether another thread held it when this process was forked: what it guards may be half changed."""
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Free the lock, in a child, from a thread that stayed in the parent."""
        if self._lock.acquire(blocking=False):  # it was free, or this thread's own
            self._lock.release()
        else:
            self._lock, self.interrupted = threading.RLock(), True


_LOCKS: WeakSet[ForkLock] = WeakSet()


def _renew() -> None:
    for lock in list(_LOCKS):
        lock.renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew)


def end_with_parent() -> None:
    """From now on this process ends when the one that started it is gone: a killed run would leave its workers for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
