"""Model calls that are paid once: a cache of replies by content, in the folder of a run.

A call is known by the SHA-256 of the model's name and all that it asks for: messages (pictures by their digest), limits,
temperature, seed, stop texts, and the schema as JSON. What is stored is the reply with the usage of the call that was paid,
so that a run taken up again reports the same totals; prompts, keys and headers are not. A stored reply survives the death of
the process; a power cut may cost the last ones. Failures are not stored. Threads may share a cache; of equal calls under way
at once, one is made and the others wait for it. Deleting the folder deletes the cache.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from memagent.errors import StoreCorrupt, StoreError, StoreLocked
from memagent.models.base import ChatModel, Reply, Request
from memagent.models.concurrency import CallPool
from memagent.types import ImagePart, Usage

NAME = "calls.sqlite"
Done = Callable[[bool], None]
"""Called after each call: whether it was paid now."""


class CallCache:
    """The replies of a run, in `calls.sqlite` of a folder. Raises `StoreLocked` while another process holds it."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / NAME
        self.paid = 0
        """Calls made by this object."""
        self.hits = 0
        """Calls that were answered from what was stored, or by an equal call under way."""
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Reply]] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(self.path, timeout=2.0, check_same_thread=False)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID")
            connection.commit()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                message = f"{self.path} is in use: another run goes on in this folder; wait for it, or name another"
                raise StoreLocked(message) from error
            raise StoreError(f"{self.path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreCorrupt(f"{self.path} is no cache of calls ({error}); delete it to pay its calls again") from error
        self._connection = connection

    def ask(self, key: str, pay: Callable[[], Reply], *, limit: CallPool) -> tuple[Reply, bool]:
        """The stored reply, or the one that `pay` gives; and whether it was paid now. Raises what `pay` raises.

        A call keeps its place in the limit until its reply is stored: a process that dies loses no more replies than that.
        """
        with self._lock:
            row = self._connection.execute("SELECT reply FROM calls WHERE key = ?", (key,)).fetchone()
            known = None if row is None else Reply.model_validate_json(row[0])
            waited = None if known else self._under_way.get(key)
            mine: Future[Reply] = Future()
            if known is None and waited is None:
                self._under_way[key] = mine
        if known is None and waited is None:
            return self._pay(key, pay, mine, limit), True
        reply = known or (waited or mine).result()
        with self._lock:
            self.hits += 1
        return reply, False

    def total(self) -> Usage:
        """What all stored calls cost when they were paid."""
        with self._lock:
            rows = self._connection.execute("SELECT reply FROM calls ORDER BY key").fetchall()
        return sum((Reply.model_validate_json(row[0]).usage for row in rows), Usage())

    def _pay(self, key: str, pay: Callable[[], Reply], promise: Future[Reply], limit: CallPool) -> Reply:
        try:
            reply = limit.run(lambda: self._store(key, pay()))
        except BaseException as error:
            promise.set_exception(error)
            raise
        else:
            promise.set_result(reply)
        finally:
            with self._lock:
                del self._under_way[key]
        return reply

    def _store(self, key: str, reply: Reply) -> Reply:
        with self._lock:
            self._connection.execute(
                "INSERT OR IGNORE INTO calls VALUES (?, ?)", (key, reply.model_dump_json(exclude={"parsed"}))
            )
            self._connection.commit()
            self.paid += 1
        return reply

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class CachedModel(ChatModel):
    """A model whose calls go through a cache and, where they are paid, through a limit. The model inside is its caller's."""

    def __init__(
        self, model: ChatModel, cache: CallCache, *, limit: CallPool | None = None, done: Done = lambda _: None
    ) -> None:
        self.name, self.reader, self.small = model.name, model.reader, model.small
        self._model, self._cache, self._done = model, cache, done
        self._limit = limit or CallPool(1)

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        reply, paid = self._cache.ask(call_key(self.name, request), lambda: self._whole(request), limit=self._limit)
        self._done(paid)
        if reply.text:
            yield reply.text
        return reply

    def _whole(self, request: Request) -> Reply:
        pieces = self._model._stream(request)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                reply: Reply = end.value
                return reply


def call_key(model: str, request: Request) -> str:
    """The name of a call by its content."""
    messages: list[object] = []
    for message in request.messages:  # what a model is told of them; their times and ids are not
        if isinstance(message.content, str):
            messages.append([message.role, message.content])
            continue
        parts = [
            [part.media_type, hashlib.sha256(part.data).hexdigest()] if isinstance(part, ImagePart) else part.text
            for part in message.content
        ]
        messages.append([message.role, parts])
    asked = {
        "model": model,
        "messages": messages,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stop": request.stop,
        "schema": None if request.schema is None else request.schema.model_json_schema(),
        "seed": request.seed,
        "timeout": request.timeout,
    }
    return hashlib.sha256(json.dumps(asked, ensure_ascii=True, sort_keys=True).encode()).hexdigest()
