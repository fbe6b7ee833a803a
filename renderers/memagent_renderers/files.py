"""Files written whole or not at all: into a draft beside them, which then takes their name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_file(path: Path, *, mode: int = 0o600, sync: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends well; on an error the old file stays, and no draft.

    The folder must exist. With `sync` the bytes are on the disk before the name is: a power cut leaves the old or the new file.
    """
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)  # mkstemp: 0600
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if mode != 0o600:
            os.chmod(draft, mode)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: str | bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Write text (as UTF-8, line ends as they are) or bytes through `atomic_file`."""
    with atomic_file(path, mode=mode, sync=sync) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)
