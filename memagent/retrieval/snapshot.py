"""A search index on disk: one file of arrays, written whole or not at all, and trusted only under its key."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memagent_renderers.files import atomic_file

logger = logging.getLogger(__name__)

_KEY = "snapshot_key"


def save(path: Path, key: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays under a key. Another process may do the same at the same time: the last one wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored: dict[str, Any] = {**arrays, _KEY: np.frombuffer(key.encode(), np.uint8)}
    with atomic_file(path) as file:
        np.savez(file, **stored)


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
