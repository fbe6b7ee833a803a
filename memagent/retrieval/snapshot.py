"""A search index on disk: one file of arrays, written whole or not at all, and trusted only under its key."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memagent.db import erasure
from memagent_renderers.files import atomic_file

logger = logging.getLogger(__name__)

_KEY = "snapshot_key"


@contextmanager
def draft(path: Path) -> Iterator[Callable[[str, dict[str, NDArray[Any]]], None]]:
    """A draft of the file, which exists from here on and takes its name when the block ends well.

    Yields what writes arrays under a key to it. Drafts that others left are deleted; of two writers the last one wins, and one
    whose draft was deleted meanwhile leaves the file as it is.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    erasure.drafts(path)
    with suppress(FileNotFoundError), atomic_file(path) as file:

        def write(key: str, arrays: dict[str, NDArray[Any]]) -> None:
            stored: dict[str, Any] = {**arrays, _KEY: np.frombuffer(key.encode(), np.uint8)}
            np.savez(file, **stored)

        yield write


def delete(path: Path) -> None:
    """Delete the file and every draft of it: drafts first, because one may be taking the file's name. Raises `StoreError`."""
    erasure.drafts(path)
    erasure.delete(path)


def load(path: Path, key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays saved under this key, or None: no file, another key, or damage."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if bytes(file[_KEY].tobytes()).decode() != key:
                return None
            return {name: file[name] for name in file.files if name != _KEY}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        logger.warning("index snapshot %s cannot be used (%s); it is rebuilt", path.name, error)
        return None
