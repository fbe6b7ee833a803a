"""The files of a database: private, writable or not, and still the ones that were opened.

SQLite opens a file once and writes to it for as long as a connection lives, also when the file has long lost its name. Whoever
gives receipts therefore compares the files under the names with those that were opened.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from memagent.errors import StoreError

logger = logging.getLogger(__name__)

_PARTS = ("", "-wal", "-shm")
"""Endings of the names of a database's files."""

Identity = tuple[tuple[int, int] | None, ...]
"""Device and number of each of a database's files, None for one that is not there."""


def make_folder(folder: Path) -> None:
    """Make the folder of a store, for its owner alone; one that is there and empty becomes so.

    Warns where others may look into a folder that holds something else already. Raises `StoreError` when it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and folder.stat().st_mode & 0o077 and not (folder / "memory.db").exists():
            if any(folder.iterdir()):
                logger.warning("other users may list the folder %s; close it with: chmod 700 %s", folder, folder)
            else:
                folder.chmod(0o700)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}; name another one") from error


def make_private(path: Path) -> None:
    """Make an empty database file if there is none. It and what SQLite makes beside it can be read by its owner alone."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for part in _PARTS:
        with suppress(OSError):  # not there, or another user's
            Path(f"{path}{part}").chmod(0o600)


def can_write(path: Path) -> bool:
    """Whether a database that is there, and its folder, may be written."""
    return os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)


def uri_to_read(path: Path) -> str:
    """How a database that cannot be written is opened. Without a log of changes nobody is writing, and nothing is locked.

    Raises `StoreError` where the log holds changes and its index is not there: SQLite would have to write one.
    """
    log, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    size = log.stat().st_size if log.exists() else 0
    if size and not shared.exists():
        raise StoreError(
            f"{log} holds {size} bytes of changes that are not in {path.name} yet, and they cannot be read where nothing may "
            f"be written; copy the whole folder {path.parent} to a place that can be written, and name the copy"
        )
    unchanging = not log.exists() or (not shared.exists() and size == 0)
    return f"file:{quote(str(path))}?mode=ro{'&immutable=1' if unchanging else ''}"


def identity(path: Path) -> Identity:
    """What tells the files of a database from others of the same names."""
    found: list[tuple[int, int] | None] = []
    for part in _PARTS:
        try:
            status = os.stat(f"{path}{part}")
            found.append((status.st_dev, status.st_ino))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)
