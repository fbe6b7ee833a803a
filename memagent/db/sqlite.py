"""The SQLite side of a store: connections, transactions, opening, migrating.

Every thread has a connection of its own, in WAL mode with `synchronous=FULL`: a commit that returned survives a crash and
a power cut. Writers take the write lock at once (`BEGIN IMMEDIATE`) and hold it briefly; readers never wait. Deleted
rows are overwritten (`secure_delete`), so that a purge leaves no bytes behind.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from memagent.db.migrations import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from memagent.errors import StoreCorrupt, StoreError, StoreLocked, StoreVersion
from memagent.types import now

FILE_NAME = "memory.db"


@dataclass(frozen=True)
class _Handle:
    """A thread's connection. The lock is held while it is in use, so that `close` cannot pull it away."""

    thread: threading.Thread
    connection: sqlite3.Connection
    lock: threading.RLock = field(default_factory=threading.RLock)


class Database:
    """One SQLite file, used by any number of threads here and of processes elsewhere."""

    connection_class: ClassVar[type[sqlite3.Connection]] = sqlite3.Connection

    def __init__(self, folder: Path, *, timeout: float, read_only: bool) -> None:
        self.path = folder / FILE_NAME
        self.timeout = timeout
        self.read_only = read_only
        self._local = threading.local()
        self._opened: list[_Handle] = []
        self._guard = threading.Lock()
        self._closed = False

        if self.read_only and not self.path.exists():
            raise StoreError(f"there is no store at {self.path.parent}; a read-only store must exist already")
        with self.errors():
            try:
                with self._held() as connection:
                    self._migrate(connection)
                    (self.identity,) = connection.execute("SELECT value FROM header WHERE key = 'identity'").fetchone()
            except BaseException:
                self.close()
                raise
        with suppress(OSError):
            self.path.chmod(0o600)

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, safe from `close` for the length of the block."""
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None:
            handle = self._connect()
            self._local.handle = handle
        with handle.lock:
            if self._closed:
                raise StoreError("this store is closed; open it again")
            yield handle.connection

    def _connect(self) -> _Handle:
        if self._closed:
            raise StoreError("this store is closed; open it again")
        connection = sqlite3.connect(
            self.path,
            timeout=self.timeout,
            isolation_level=None,
            check_same_thread=False,
            factory=self.connection_class,
        )
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(f"PRAGMA query_only={'ON' if self.read_only else 'OFF'}")
        except BaseException:
            connection.close()
            raise
        handle = _Handle(threading.current_thread(), connection)
        with self._guard:
            for other in [one for one in self._opened if not one.thread.is_alive()]:
                other.connection.close()
                self._opened.remove(other)
            self._opened.append(handle)
        return handle

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from; several statements inside see one state of the store."""
        with self.errors(), self._held() as connection:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk when the block ends, or never happened. Blocks do not nest."""
        if self.read_only:
            raise StoreError("this store was opened read-only; open it without read_only to write")
        with self.errors(), self._held() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours, naming the file and the way out."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.DatabaseError) -> StoreError:
        text, place = str(error), self.path
        if "locked" in text or "busy" in text:
            return StoreLocked(f"another process held {place} for over {self.timeout:g} s; try again, or raise timeout")
        if "not a database" in text or "malformed" in text:
            kept = "the file is left as it is; restore a copy from the folder `backups`, or name another --store"
            return StoreCorrupt(f"{place} is damaged or not a store ({text}); {kept}")
        if "unable to open" in text:
            return StoreError(f"cannot open {place}: {text}; check that the folder exists and may be written")
        return StoreError(f"{place}: {text}; nothing was written by this call")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = self._checked_version(connection)
        if version == SCHEMA_VERSION:
            return
        if self.read_only:
            raise StoreVersion(f"{self.path} has schema {version}; open it once without read_only to migrate it")
        if version:
            folder = self.path.parent / "backups"
            folder.mkdir(mode=0o700, exist_ok=True)
            target = folder / f"memory-schema{version}-{int(time.time())}-{os.getpid()}.db"
            with closing(sqlite3.connect(target)) as copy:
                connection.backup(copy)
            target.chmod(0o600)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for number in range(self._checked_version(connection) + 1, SCHEMA_VERSION + 1):
                MIGRATIONS[number](connection)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (number, now().isoformat()))
                connection.execute(f"PRAGMA user_version={number}")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _checked_version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if tables and application != APPLICATION_ID:
            raise StoreCorrupt(f"{self.path} is a database of another program; name another --store")
        if version > SCHEMA_VERSION:
            raise StoreVersion(
                f"{self.path} has schema {version}, this program knows up to {SCHEMA_VERSION}; "
                "upgrade memagent (pip install -U memagent), or name another --store"
            )
        return version

    def truncate_log(self) -> None:
        """Fold the write-ahead log into the file and empty it. Raises `StoreLocked` when readers keep it open."""
        deadline = time.monotonic() + self.timeout
        with self.errors(), self._held() as connection:
            while True:
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if not busy:
                    return
                if time.monotonic() > deadline:
                    raise StoreLocked(
                        f"erased from {self.path}, but its write-ahead log is still read by another process and may "
                        "hold old bytes; close that process and run `memagent memory purge` again"
                    )
                time.sleep(0.02)

    def close(self) -> None:
        """Close every connection, waiting for transactions that are under way. Safe to call twice."""
        with self._guard:
            self._closed = True
            opened, self._opened = self._opened, []
        for handle in opened:
            with handle.lock:
                handle.connection.close()
