"""The SQLite side of a store: connections, transactions, opening, migrating.

Every thread has a connection of its own, in WAL mode with `synchronous=FULL`: a commit that returned survives a crash and
a power cut. Writers take the write lock at once (`BEGIN IMMEDIATE`) and hold it briefly; readers never wait. Deleted
rows are overwritten (`secure_delete`), so that a purge leaves no bytes behind.

Before this process forks, its connections are closed, and each side opens new ones: SQLite's locks are a process's own, and a
child with a parent's connection would write into files that others believe to be theirs alone.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

from memagent.db import files
from memagent.db.migrations import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from memagent.errors import StoreCorrupt, StoreError, StoreLocked, StoreVersion
from memagent.types import now

FILE_NAME = "memory.db"
_STATE = "SELECT (SELECT value FROM header WHERE key = 'identity'), (SELECT seq FROM sqlite_sequence WHERE name = 'events')"


@dataclass
class _Handle:
    """A thread's connection. The lock is held while it is in use, so that nobody can pull it away."""

    thread: threading.Thread
    connection: sqlite3.Connection
    files: files.Identity
    lock: threading.RLock = field(default_factory=threading.RLock)
    closed: bool = False

    def close(self) -> None:
        self.closed = True
        self.connection.close()


class Database:
    """One SQLite file, used by any number of threads here and of processes elsewhere.

    `read_only` is also set when the file or its folder cannot be written.
    """

    connection_class: ClassVar[type[sqlite3.Connection]] = sqlite3.Connection

    def __init__(self, folder: Path, *, timeout: float, read_only: bool) -> None:
        self.path = folder / FILE_NAME
        self.timeout = timeout
        if read_only and not self.path.exists():
            raise StoreError(f"there is no store at {folder}; a read-only store must exist already")
        self.writable = not self.path.exists() or files.can_write(self.path)
        self.read_only = read_only or not self.writable
        self.identity = ""
        """What this database has alone: caches of another one are not its own."""
        self._newest = 0  # event seen
        self._closed = self._torn = False
        self._forget_connections()
        with _OPEN_GUARD:
            _OPEN.add(self)
        with self.errors():
            try:
                with self._held() as connection:
                    self._migrate(connection)
                    (self.identity,) = connection.execute("SELECT value FROM header WHERE key = 'identity'").fetchone()
            except BaseException:
                self.close()
                raise

    def _forget_connections(self) -> None:
        self._local = threading.local()
        self._opened: list[_Handle] = []
        self._guard = threading.Lock()
        self._writing = threading.RLock()
        self._locked: list[_Handle] = []  # while this process forks

    # -- connections ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, safe from `close` for the length of the block."""
        while True:
            handle: _Handle | None = getattr(self._local, "handle", None)
            if handle is None or handle.closed:
                handle = self._local.handle = self._connect()
            with handle.lock:
                if self._closed:
                    raise StoreError("this store is closed; open it again")
                if handle.closed:  # this process forked meanwhile
                    continue
                yield handle.connection
                return

    def _connect(self) -> _Handle:
        if self._torn:
            raise StoreError("this process was forked in the middle of a transaction; open the store again in the child")
        with self._guard:  # a fork waits until the connection is there
            if self._closed:
                raise StoreError("this store is closed; open it again")
            for other in [one for one in self._opened if not one.thread.is_alive()]:
                other.close()
                self._opened.remove(other)
            connection = self._open() if self.writable else self._open_to_read()
            try:
                connection.execute(f"PRAGMA query_only={'ON' if self.read_only else 'OFF'}")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log too
                handle = _Handle(threading.current_thread(), connection, files.identity(self.path))
            except BaseException:
                connection.close()
                raise
            self._opened.append(handle)
        return handle

    def _open(self) -> sqlite3.Connection:
        files.make_private(self.path)
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
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_to_read(self) -> sqlite3.Connection:
        uri = files.uri_to_read(self.path)
        return sqlite3.connect(uri, uri=True, timeout=self.timeout, isolation_level=None, check_same_thread=False)

    def before_fork(self) -> None:
        """Close the connections, once the transactions of other threads are done; one of this thread cannot be waited for."""
        self._guard.acquire()
        self._locked = [one for one in self._opened if one.lock.acquire(timeout=self.timeout)]
        for handle in self._locked:
            if not handle.connection.in_transaction:
                handle.close()
                self._opened.remove(handle)

    def after_fork(self, *, child: bool) -> None:
        """Let the other threads go on; a child has none, and what could not be closed is lost to it."""
        locked, self._locked = self._locked, []
        if child:
            for handle in self._opened:
                self._torn = True
                # Never closed, not even at exit: that would meddle with the parent's files.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle.connection))
            self._forget_connections()
            return
        for handle in locked:
            handle.lock.release()
        self._guard.release()

    # -- transactions --------------------------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from; several statements inside see one state of the store."""
        with self.errors(), self._held() as connection:
            if connection.in_transaction:
                yield connection
                return
            self._check_files()
            connection.execute("BEGIN")
            try:
                self._check_state(connection)
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk when the block ends, or never happened. Blocks do not nest."""
        if not self.writable:
            raise StoreError(f"{self.path} cannot be written here; copy the store's folder to a place where it can")
        if self.read_only:
            raise StoreError("this store was opened read-only; open it without read_only to write")
        with self.errors(), self._held() as connection, self._in_turn():
            self._check_files()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_state(connection)
                yield connection
                newest = self._state(connection)[1]
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise
            self._newest = max(self._newest, newest)
            self._check_files()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Write when no other thread does: one that waits is woken, where SQLite would look again after ever longer sleeps."""
        if not self._writing.acquire(timeout=min(max(self.timeout, 0.0), threading.TIMEOUT_MAX)):
            raise StoreLocked(f"another thread held {self.path} for over {self.timeout:g} s; try again, or raise timeout")
        try:
            yield
        finally:
            self._writing.release()

    def _check_files(self) -> None:
        """Raise `StoreError` where this thread's connection is to files that have lost their names."""
        if files.identity(self.path) != self._local.handle.files:
            raise StoreError(
                f"{self.path} is no longer the file that was opened: its folder was removed or replaced; open the store again"
            )

    def _check_state(self, connection: sqlite3.Connection) -> None:
        """Raise `StoreError` where the database was put back to an earlier state, or is another one."""
        seen = self._newest  # before the state is read: another thread may commit in between
        identity, newest = self._state(connection)
        if identity != self.identity or newest < seen:
            raise StoreError(f"{self.path} was put back to another state while it was open; open the store again")
        self._newest = max(self._newest, newest)

    def _state(self, connection: sqlite3.Connection) -> tuple[str, int]:
        identity, newest = connection.execute(_STATE).fetchone()
        return identity, newest or 0

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
            kept = "the file is left as it is; restore a copy of it, or name another --store"
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

    def truncate_log(self, *, timeout: float | None = None) -> None:
        """Fold the write-ahead log into the file and empty it. Raises `StoreLocked` when readers keep it open."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
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
        with _OPEN_GUARD:
            _OPEN.discard(self)
        with self._guard:
            self._closed = True
            opened, self._opened = self._opened, []
        for handle in opened:
            with handle.lock:
                handle.close()


_OPEN: WeakSet[Database] = WeakSet()
_OPEN_GUARD = threading.RLock()


def _before_fork() -> None:
    _OPEN_GUARD.acquire()
    for database in _OPEN:
        database.before_fork()


def _after_fork(*, child: bool) -> None:
    for database in _OPEN:
        database.after_fork(child=child)
    _OPEN_GUARD.release()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(child=False),
        after_in_child=lambda: _after_fork(child=True),
    )
