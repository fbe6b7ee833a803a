"""`Store`: one folder that all memories of all users share, with what they need to work: database, embedder, caches.

folder/            0700
  memory.db        the event log and what is derived from it
  cache/           index snapshots and pictures: may be deleted at any time
  backups/         copies made before a migration
  history/         lines typed into the chat, by user
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from memagent.db import erasure, log, sessions
from memagent.db.sqlite import Database
from memagent.errors import EmbedderMismatch, MissingExtra, StoreError
from memagent.retrieval.embedders.base import Embedder

if TYPE_CHECKING:
    from memagent.memory.base import Memory
    from memagent.models.base import ChatModel
    from memagent.retrieval.index import UserIndex
    from memagent.retrieval.searcher import Searcher

logger = logging.getLogger(__name__)


def default_folder() -> Path:
    """`MEMAGENT_HOME`, else the platform's folder for a user's data."""
    import platformdirs

    home = os.environ.get("MEMAGENT_HOME")
    return Path(home) if home else Path(platformdirs.user_data_dir("memagent", appauthor=False))


def _resolved(embedder: Embedder | str | None) -> Embedder | str | None:
    if not isinstance(embedder, str) or embedder == "auto":
        return embedder  # "auto" stays until the store's header is read
    from memagent.retrieval.embedders.registry import resolve_embedder

    return resolve_embedder(embedder)


class Store:
    """Opens, and if need be makes, the store in a folder.

    `embedder` is an `Embedder`, the name of one ("minilm", "hash", "st:..."), None to do without, or "auto": the one that
    this store's vectors were made by, else the best that is installed. `timeout` is how many seconds to wait for other
    processes. Raises a `StoreError` naming the file when it cannot be opened.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        embedder: Embedder | str | None = "auto",
        timeout: float = 30.0,
        read_only: bool = False,
    ) -> None:
        self.path = Path(path) if path is not None else default_folder()
        self.read_only = read_only
        if not read_only:
            self._make_folder()
        self.database = Database(self.path, timeout=timeout, read_only=read_only)
        self._asked = _resolved(embedder)
        self._loaded: Embedder | None = None
        self._searchers: dict[str, tuple[UserIndex, Searcher]] = {}
        self._guard = threading.RLock()
        try:
            self._check_embedder()
        except BaseException:
            self.database.close()
            raise

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {self.path}: {error.strerror}; name another one") from error

    # -- memories ------------------------------------------------------------------------------------------------------

    def memory(
        self,
        kind: str,
        *,
        user: str = "default",
        session: str = "default",
        model: ChatModel | None = None,
        **options: Any,
    ) -> Memory:
        """A user's memory of a kind: "rag", "long_context", "notes", "memocr", or one that a plug-in brings.

        Raises `UnknownName` for any other.
        """
        from memagent.memory import load_memory

        return load_memory(kind)(self, user=user, session=session, model=model, **options)

    def users(self) -> list[str]:
        """Names of all users, in the order in which they came."""
        with self.database.read() as connection:
            return [str(row[0]) for row in connection.execute("SELECT name FROM users ORDER BY id")]

    def sessions(self, user: str = "default") -> list[sessions.Session]:
        """The sessions of a user, the one last written to first."""
        with self.database.read() as connection:
            return sessions.of_user(connection, user)

    def forget_session(self, name: str, *, user: str = "default") -> int:
        """Forget every message of a session. Returns how many. Raises `NotFound`."""
        with self.database.write() as connection:
            return sessions.forget(connection, user, name)

    # -- search --------------------------------------------------------------------------------------------------------

    def searcher(self, user: str) -> Searcher:
        """Search over a user's messages, shared by all memories of that user."""
        from memagent.retrieval.index import UserIndex
        from memagent.retrieval.searcher import Searcher

        with self._guard:
            if user not in self._searchers:
                index = UserIndex(
                    self.database,
                    user,
                    embedder=self.embedder,
                    embedder_id=lambda: self.embedder_id,
                    folder=self.path / "cache" / "index",
                )
                self._searchers[user] = (index, Searcher(self.database, index, self.embedder))
            return self._searchers[user][1]

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
        from memagent.retrieval.embedders.registry import load_embedder, resolve_embedder

        if self._asked != "auto":
            return load_embedder(self._asked)
        header = self._header()
        name = str(header["name"]) if header else resolve_embedder("auto")
        try:
            return None if name is None else load_embedder(name)
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

    def reindex(self, *, embedder: Embedder | str | None = None, progress: Callable[[int], None] | None = None) -> int:
        """Throw away vectors and index files and make them anew, with another embedder if one is named.

        Returns the number of passages embedded. Messages, notes and their history are not touched.
        """
        with self._guard:
            fresh = self._replacement(embedder)
            self._drop_index()
            with self.database.write() as connection:
                connection.execute("DELETE FROM vectors")
                connection.execute("DELETE FROM header WHERE key = 'embedder'")
            if fresh is None:
                return 0
            self._asked = self._loaded = fresh
            self._claim(fresh)
        return sum(self.searcher(user).embed(progress=progress) for user in self.users())

    def _replacement(self, embedder: Embedder | str | None) -> Embedder | None:
        if embedder is None:
            return self.embedder()
        if not isinstance(embedder, str):
            return embedder
        from memagent.retrieval.embedders.registry import load_embedder

        return load_embedder(embedder)

    def _drop_index(self) -> None:
        self._searchers.clear()
        shutil.rmtree(self.path / "cache" / "index", ignore_errors=True)

    # -- erasing and closing -------------------------------------------------------------------------------------------

    def picture_folder(self, user: str) -> Path:
        """Folder of the pictures drawn for a user."""
        return self.path / "cache" / "pictures" / log.digest(user).hex()

    def history_file(self, user: str) -> Path:
        """File of the lines that a user typed into the chat."""
        return self.path / "history" / f"{log.digest(user).hex()}.txt"

    def erase_derived(self, user: str, row: int, texts: list[str] | None) -> None:
        """Second half of a purge, after its commit: a user's bytes in caches, backups, typed lines and the WAL.

        `texts` are the texts that are gone, None for all of the user's.
        """
        with self._guard:
            (self.path / "cache" / "index" / f"user-{row}.npz").unlink(missing_ok=True)
            shutil.rmtree(self.picture_folder(user), ignore_errors=True)
            shutil.rmtree(self.path / "backups", ignore_errors=True)
        erasure.typed_lines(self.history_file(user), texts)
        self.database.truncate_log()

    def close(self) -> None:
        """Write index snapshots of large memories and close the database. Safe to call twice."""
        with self._guard:
            for index, _ in self._searchers.values():
                try:
                    index.store_vectors()
                    index.save_snapshot()
                except (OSError, StoreError) as error:
                    logger.warning("caches not written: %s", error)
            self._searchers.clear()
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
