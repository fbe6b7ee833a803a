"""`Store`: one folder that all memories of all users share.

folder/            0700
  memory.db        the event log and what is derived from it
  cache/           index snapshots and pictures: may be deleted at any time
  backups/         copies made before a migration
  history/         lines typed into the chat, by user
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload
from weakref import WeakSet

from memagent.db import sessions
from memagent.db.paths import default_folder
from memagent.errors import InputError
from memagent.memory import check_options, load_memory
from memagent.memory.arguments import checked_name, checked_path
from memagent.memory.backend import Backend
from memagent.memory.base import Memory
from memagent.models.base import ChatModel
from memagent.retrieval.embedders.base import Embedder

if TYPE_CHECKING:
    from memagent.memory.long_context import LongContextMemory, Strategy
    from memagent.memory.memocr.memory import MemOcrMemory
    from memagent.memory.notes.memory import NotesMemory
    from memagent.memory.rag import RagMemory

M = TypeVar("M", bound=Memory)


class Store:
    """Opens, and if need be makes, the store in a folder: `MEMAGENT_HOME` or the platform's data folder without a `path`.

    `embedder` is an `Embedder`, the name of one ("minilm", "hash", "st:..."), None to do without, or "auto": the one that
    this store's vectors were made by, else the best that is installed. `timeout` is how many seconds to wait for other
    processes; `read_only` writes nothing at all, caches included. Raises a `StoreError` naming the file when it cannot be
    opened (`StoreLocked`, `StoreVersion`, `StoreCorrupt`), and `EmbedderMismatch` when another embedder made its vectors. One
    store serves any number of threads.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        embedder: Embedder | str | None = "auto",
        timeout: float = 30.0,
        read_only: bool = False,
    ) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise InputError(f"timeout is a number of seconds, not {timeout!r}")
        self.path = default_folder() if path is None else checked_path("folder", path)
        self.backend = Backend(self.path, embedder=embedder, timeout=timeout, read_only=read_only)
        self.read_only = self.backend.read_only
        """Set too when the folder cannot be written: then it is read as it is."""
        """What memories work on. For code of this package: no promise of stability."""
        self._memories: WeakSet[Memory] = WeakSet()

    # -- memories ------------------------------------------------------------------------------------------------------

    @overload
    def memory(
        self, kind: Literal["rag"], *, user: str = ..., session: str = ..., model: ChatModel | str | None = ...
    ) -> RagMemory: ...
    @overload
    def memory(
        self,
        kind: Literal["long_context"],
        *,
        user: str = ...,
        session: str = ...,
        model: ChatModel | str | None = ...,
        strategy: Strategy = ...,
    ) -> LongContextMemory: ...
    @overload
    def memory(
        self,
        kind: Literal["notes"],
        *,
        user: str = ...,
        session: str = ...,
        model: ChatModel | str | None = ...,
        **options: Any,
    ) -> NotesMemory: ...
    @overload
    def memory(
        self,
        kind: Literal["memocr"],
        *,
        user: str = ...,
        session: str = ...,
        model: ChatModel | str | None = ...,
        **options: Any,
    ) -> MemOcrMemory: ...
    @overload
    def memory(
        self, kind: type[M], *, user: str = ..., session: str = ..., model: ChatModel | str | None = ..., **options: Any
    ) -> M: ...
    @overload
    def memory(
        self, kind: str, *, user: str = ..., session: str = ..., model: ChatModel | str | None = ..., **options: Any
    ) -> Memory: ...
    def memory(
        self,
        kind: str | type[Memory],
        *,
        user: str = "default",
        session: str = "default",
        model: ChatModel | str | None = None,
        **options: Any,
    ) -> Memory:
        """A user's memory of a kind: "rag", "long_context", "notes", "memocr", one that a plug-in brings, or a class of yours.

        `session` is where it writes; it reads all sessions. `model` writes notes and drafts; one that is named
        ("openai:gpt-4o-mini") is loaded here and closed with the memory, or with the store. `options` are those of the kind.
        Raises `UnknownName` for a kind or an option that does not exist, and what loading the model raises.
        """
        found = load_memory(kind)
        check_options(found, options)
        made = found(self, user=user, session=session, model=model, **options)
        if isinstance(model, str):
            self._memories.add(made)
        return made

    def users(self) -> list[str]:
        """Names of all users, in the order in which they came."""
        with self.backend.database.read() as connection:
            return [str(row[0]) for row in connection.execute("SELECT name FROM users ORDER BY id")]

    def sessions(self, user: str = "default") -> list[sessions.Session]:
        """The sessions of a user, the one last written to first."""
        with self.backend.database.read() as connection:
            return sessions.of_user(connection, checked_name("user", user))

    def delete_session(self, name: str, *, user: str = "default", purge: bool = False) -> int:
        """Hide every message of a session, or erase it from every file with `purge=True`.

        Returns the number of messages. `Memory.undo` brings hidden ones back, one by one. Raises `NotFound`.
        """
        user, name = checked_name("user", user), checked_name("session", name)
        if not purge:
            with self.backend.database.write() as connection:
                return sessions.delete(connection, user, name)
        return self.backend.purge(user, [name], lambda connection: sessions.purge(connection, user, name))

    # -- search --------------------------------------------------------------------------------------------------------

    @property
    def embedder_id(self) -> str | None:
        """Id of the embedder whose vectors are stored; None as long as there are none."""
        return self.backend.embedder_id

    def reindex(self, *, embedder: Embedder | str | None = None, progress: Callable[[int], None] | None = None) -> int:
        """Throw away vectors and index files and make them anew, with another embedder if one is named.

        Returns the number of passages embedded. Messages, notes and their history are not touched. Raises `UnknownName` and
        `MissingExtra` for the embedder, and a `StoreError`; `progress` is called with the number of passages just embedded.
        """
        self.backend.replace_embedder(embedder)
        return sum(self.backend.searcher(user).embed(progress=progress) for user in self.users())

    def close(self) -> None:
        """Write index snapshots of large memories; close the models that memories loaded, and the database. Idempotent."""
        for memory in list(self._memories):
            memory.close()
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
