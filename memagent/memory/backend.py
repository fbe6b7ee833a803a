"""`Backend`: what a store gives its memories: the database, search, the embedder, and the folders of caches.

Memories, benches and commands of this package work on it; users work on `Store`, which owns one.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from memagent.db import erasure, log
from memagent.db.files import make_folder
from memagent.db.sqlite import Database
from memagent.errors import EmbedderMismatch, InputError, MissingExtra, NotFound, StoreError
from memagent.forks import ForkLock
from memagent.retrieval import snapshot
from memagent.retrieval.embedders import registry
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.index import UserIndex
from memagent.retrieval.searcher import Searcher

logger = logging.getLogger(__name__)

SEARCHERS_KEPT = 64
"""Users whose index is held in mind; that of the one searched longest ago is dropped."""


class Unfinished(Protocol):
    """What is still coming and ends, with something to store, before the database closes."""

    def interrupt(self) -> object:
        """End it here."""


class Backend:
    """One folder, opened. `embedder`, `timeout` and `read_only` are those of `Store`."""

    def __init__(self, path: Path, *, embedder: Embedder | str | None, timeout: float, read_only: bool) -> None:
        self._asked = _checked(embedder)
        if isinstance(embedder, str) and embedder != "auto":  # which stays until the store's header is read
            self._asked = registry.resolve_embedder(embedder)
        self.path = path
        self._index_folder, self._pictures = path / "cache" / "index", path / "cache" / "pictures"
        if not read_only:
            make_folder(path)
        self.database = Database(path, timeout=timeout, read_only=read_only)
        self.read_only = self.database.read_only
        self._loaded: Embedder | None = None
        self._searchers: dict[str, Searcher] = {}
        self._guard = ForkLock()
        self._finished: dict[str, set[str]] = {}  # purges that others had begun
        self.unfinished: WeakSet[Unfinished] = WeakSet()
        """Answers that are still coming: what has come of them is stored before the database closes."""
        try:
            self._check_embedder()
            if not self.read_only:
                self._finish_others()
        except BaseException:
            self.database.close()
            raise

    # -- search --------------------------------------------------------------------------------------------------------

    def searcher(self, user: str) -> Searcher:
        """Search over a user's messages, shared by all memories of that user."""
        with self._guard:
            found = self._searchers.pop(user, None) or self._new_searcher(user)
            self._searchers[user] = found  # used last
            unused = self._searchers.pop(next(iter(self._searchers))) if len(self._searchers) > SEARCHERS_KEPT else None
        if unused is not None:
            _keep(unused)
        return found

    def _new_searcher(self, user: str) -> Searcher:
        index = UserIndex(
            self.database,
            user,
            embedder=self.embedder,
            embedder_id=lambda: self.embedder_id,
            folder=self._index_folder,
        )
        return Searcher(self.database, index, self.embedder)

    @property
    def embedder_id(self) -> str | None:
        """Id of the embedder whose vectors are stored; None as long as there are none."""
        header = self._header()
        return None if header is None else str(header["id"])

    def embedder(self) -> Embedder | None:
        """The embedder, loaded on first use (seconds, for some); None to search by words only."""
        with self._guard:
            if self._loaded is None:
                self._loaded = self._load_embedder()
                if self._loaded is not None:
                    self._claim(self._loaded)
            return self._loaded

    def _load_embedder(self) -> Embedder | None:
        if not isinstance(self._asked, str):
            return self._asked
        if self._asked != "auto":
            return registry.load_embedder(self._asked)
        header = self._header()
        name = str(header["name"]) if header else registry.resolve_embedder("auto")
        try:
            return None if name is None else registry.load_embedder(name)
        except MissingExtra as error:
            logger.warning("searching by words only: %s", error)
            self._asked = None
            return None

    def _header(self) -> dict[str, object] | None:
        with self.database.read() as connection:
            row = connection.execute("SELECT value FROM header WHERE key = 'embedder'").fetchone()
        if row is None:
            return None
        header: dict[str, object] = json.loads(row[0])
        return header

    def _check_embedder(self) -> None:
        """Compare the embedder that was asked for with the store's, without loading one that is only named."""
        header = self._header()
        if header is None or self._asked is None or self._asked == "auto":
            return
        if isinstance(self._asked, str):
            asked, stored = self._asked, str(header["name"])
        else:
            asked, stored = self._asked.id, str(header["id"])
        if asked != stored:
            raise EmbedderMismatch(
                f"the vectors in {self.path} were made by {stored!r}, not by {asked!r}. Open the store without "
                f"embedder=..., or convert it: memagent memory reindex --embedder {asked}"
            )

    def _claim(self, embedder: Embedder) -> None:
        """Write the embedder into the header of a store that has none. Raises `EmbedderMismatch` when another did."""
        header = self._header()
        if header is None and not self.read_only:
            name = self._asked if isinstance(self._asked, str) and self._asked != "auto" else embedder.id
            value = {"name": name, "id": embedder.id, "dimension": embedder.dimension, "normalised": True}
            with self.database.write() as connection:
                connection.execute("INSERT OR IGNORE INTO header VALUES ('embedder', ?)", (json.dumps(value),))
            header = self._header()
        if header is not None and header["id"] != embedder.id:
            raise EmbedderMismatch(
                f"the vectors in {self.path} were made by {header['id']!r}, this embedder is {embedder.id!r}; "
                f"convert the store: memagent memory reindex --embedder {embedder.id}"
            )

    def replace_embedder(self, embedder: Embedder | str | None) -> None:
        """Throw away all vectors and index files; the next ones are made by `embedder`, or with None by the one in use."""
        with self._guard:
            fresh = self.embedder() if embedder is None else _checked(embedder)
            fresh = registry.load_embedder(fresh) if isinstance(fresh, str) else fresh
            self._searchers.clear()
            shutil.rmtree(self._index_folder, ignore_errors=True)
            with self.database.write() as connection:
                connection.execute("DELETE FROM vectors")
                connection.execute("DELETE FROM header WHERE key = 'embedder'")
            if fresh is not None:
                self._asked = self._loaded = fresh
                self._claim(fresh)

    # -- erasing and closing -------------------------------------------------------------------------------------------

    def picture_folder(self, user: str) -> Path:
        """Folder of the pictures drawn for a user."""
        return self._pictures / log.digest(user).hex()

    def history_file(self, user: str) -> Path:
        """File of the lines that a user typed into the chat."""
        return self.path / "history" / f"{log.digest(user).hex()}.txt"

    def purge(self, user: str, names: Sequence[str], erase: Callable[[log.Connection], tuple[int, list[str] | None]]) -> int:
        """Erase items of a user, or the user, from the database, and then from every other file.

        `names` are the ids, or the names of what is erased whole; `erase` erases the rows in a transaction and returns a number
        of its own and the texts that are gone, None for all of the user's. Raises `NotFound`, unless these names belong to a
        purge that had been begun and is finished now, and a `StoreError` where bytes are left: then purge again.
        """
        with self.database.read() as connection:
            begun = {**self._finished, **erasure.pending(connection)}
        try:
            with self.database.write() as connection:
                number, texts = erase(connection)
                erasure.begin(connection, user, names)
                erasure.typed_lines(self.history_file(user), texts)  # first: too much may be gone from there, never too little
        except NotFound:
            if not any(erasure.was_pending(begun, user, name) for name in names):
                raise
            number = 0
        self._finish_purges(user)
        self._finished = {}
        return number

    def _finish_purges(self, user: str | None = None, *, timeout: float | None = None) -> dict[str, set[str]]:
        """Erase the files of every purge that was begun; this user's index is written anew. Returns those purges."""
        with self.database.read() as connection:
            found = erasure.pending(connection)
        if not found:
            return found
        # Not under the guard: who holds an index may be waiting for it.
        if user is not None:
            self.searcher(user).index.rewrite_snapshot()
        for key in found.keys() - ({log.digest(user).hex()} if user is not None else set()):
            snapshot.delete(self._index_folder / f"{key}.npz")
        for key in found:
            erasure.delete(self._pictures / key)
        erasure.delete(self.path / "backups")
        self.database.truncate_log(timeout=timeout)
        with self.database.write() as connection:
            erasure.finish(connection, found)
        return found

    def _finish_others(self) -> None:
        """At opening, what can be finished of purges that were begun; a store is opened all the same when it cannot."""
        try:
            self._finished = self._finish_purges(timeout=0.0)
        except StoreError as error:
            logger.warning("a purge is not finished yet: %s", error)

    def close(self) -> None:
        """End and store answers that are coming, write index snapshots of large memories, close the database. Idempotent."""
        for answer in list(self.unfinished):
            with suppress(ValueError):  # another thread is just taking a piece of it
                answer.interrupt()
        with self._guard:
            searchers, self._searchers = list(self._searchers.values()), {}
        for searcher in searchers:
            _keep(searcher)
        self.database.close()


def _keep(searcher: Searcher) -> None:
    """Write what a searcher has worked out and nobody must: a warning tells where that fails."""
    try:
        searcher.index.store_vectors()
        searcher.index.save_snapshot()
    except (OSError, StoreError) as error:
        logger.warning("caches not written: %s", error)


def _checked(embedder: Embedder | str | None) -> Embedder | str | None:
    if embedder is not None and not isinstance(embedder, str) and not callable(getattr(embedder, "embed", None)):
        raise InputError(f"embedder is an Embedder, the name of one, or None for search by words alone, not {embedder!r}")
    return embedder


class HasBackend(Protocol):
    """What a memory is made over: a `Store`."""

    @property
    def backend(self) -> Backend:
        """What the memory works on."""
