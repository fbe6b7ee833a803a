"""A process that has a store open and does what it is told, a JSON line at a time: for tests of several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

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
    """One verb of a user's memory, its answer as JSON."""
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
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "helpers.store_worker", folder]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
        )

    def ask(self, verb: str, user: str, *arguments: Any) -> Any:
        """Do it there. Raises what was raised there, as a `RuntimeError`."""
        self.tell(verb, user, *arguments)
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["done"]

    def tell(self, verb: str, user: str, *arguments: Any) -> None:
        """Have it done there, and do not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, user, *arguments]) + "\n")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.communicate()

    def close(self) -> None:
        """Let it close the store and end."""
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0


def main() -> None:
    small_caches()
    with open_store(sys.argv[1]) as store:
        for line in sys.stdin:
            try:
                print(json.dumps({"done": do(store, *json.loads(line))}), flush=True)
            except Exception as error:
                print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)


if __name__ == "__main__":
    main()
