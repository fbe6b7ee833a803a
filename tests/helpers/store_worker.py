"""A process that has a store open and does what it is told, a verb at a time: for tests of several processes."""

from __future__ import annotations

import multiprocessing
import time
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from helpers.processes import start
from memagent import types
from memagent.db import log, revisions
from memagent.memory.base import Memory
from memagent.retrieval import index
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store

_time, _now = time.time, types.now


def small_caches() -> None:
    """Index files, and compacted indexes, from a few messages on."""
    index.SNAPSHOT_FROM, index.COMPACT_FROM = 5, 3


def set_clock(seconds: float) -> None:
    """Set this process's clock ahead, or back."""
    time.time = lambda: _time() + seconds
    log.now = revisions.now = lambda: _now() + timedelta(seconds=seconds)


def open_store(folder: str) -> Store:
    return Store(folder, embedder=HashEmbedder(dimension=32))


def do(store: Store, verb: str, user: str, *arguments: Any) -> Any:
    """One verb of a user's memory, its answer in lists and texts."""
    memory = store.memory("notes" if verb.startswith("notes ") else "rag", user=user)
    verb = verb.removeprefix("notes ")
    if verb == "clock":
        return set_clock(*arguments)
    if verb == "texts":
        return [[item.id, item.text] for item in memory.items()]
    if verb == "search":
        return [result.item.text for result in memory.search(*arguments, limit=50)]
    if verb == "recall":
        return memory.recall(*arguments, budget=120).text
    if verb == "purge_all":
        return list(memory.purge(everything=True).ids)
    return _receipt(memory, verb, *arguments)


def _receipt(memory: Memory, verb: str, *arguments: Any) -> Any:
    answer = getattr(memory, verb)(*arguments)
    return [list(outcome) for outcome in ((one.id, one.action) for one in getattr(answer, "outcomes", ()))]


class Worker:
    """The process, seen from a test."""

    def __init__(self, folder: str) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = start(serve, folder, theirs)
        theirs.close()

    def ask(self, verb: str, user: str, *arguments: Any) -> Any:
        """Do it there. Raises what was raised there, as a `RuntimeError`."""
        self.tell(verb, user, *arguments)
        done, answer = self._pipe.recv()
        if not done:
            raise RuntimeError(answer)
        return answer

    def tell(self, verb: str, user: str, *arguments: Any) -> None:
        """Have it done there, and do not wait."""
        self._pipe.send((verb, user, *arguments))

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def close(self) -> None:
        """Let it close the store and end."""
        self._pipe.close()
        self._process.join(60)
        assert self._process.exitcode == 0


def serve(folder: str, pipe: Connection) -> None:
    """Do what comes through the pipe until it is closed."""
    small_caches()
    with open_store(folder) as store:
        while True:
            try:
                asked = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send((True, do(store, *asked)))
            except Exception as error:
                pipe.send((False, f"{type(error).__name__}: {error}"))
