"""Rows of a JSON-lines file, read one by one where they are needed.

The file is mapped into memory, so that all processes of a machine share one copy of it. Beside a file that
`memagent_training.tasks.long_qa_file` wrote lies `FILE.index.npy`: where each line begins. A file without an index, or with
one that does not fit it, is looked through once when it is opened.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np

from memagent.errors import ConfigError
from memagent_renderers.files import atomic_file
from memagent_training.tasks.base import Row

Read = Callable[[dict[str, Any]], Row]


class StoredRows(Sequence[Row]):
    """What `read` makes of each line of `path`; lines whose `id` came before are left out. `wanted` says what a line holds.

    Raises `ConfigError` for a file that is not there, and with the number of a line that cannot be used: at once where there
    is no index, else when the line is asked for.
    """

    def __init__(self, path: Path, read: Read, *, wanted: str, most: int | None = None) -> None:
        if not path.is_file() or not path.stat().st_size:
            raise ConfigError(f"there is no task file `{path}`, or it is empty; each of its lines is {wanted}")
        self.path = path
        self._options = (read, wanted, most)
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        index = _fitting_index(path, len(self._bytes))
        spans = self._looked_through() if index is None else list(enumerate(pairwise(index.tolist())))
        self._spans = spans[:most]

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self._row(*one) for one in self._spans[place]]
        return self._row(*self._spans[place])

    def __reduce__(self) -> tuple[Any, ...]:
        read, wanted, most = self._options
        return partial(StoredRows, self.path, read, wanted=wanted, most=most), ()

    def _row(self, number: int, span: tuple[int, int]) -> Row:
        read, wanted, _ = self._options
        try:
            return read(json.loads(self._bytes[span[0] : span[1]]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"`{self.path}`, line {number + 1}: {error!r}; it must be {wanted}") from error

    def _looked_through(self) -> list[tuple[int, tuple[int, int]]]:
        """(number of the line, its span) of all lines with an id of their own."""
        first: dict[object, tuple[int, tuple[int, int]]] = {}
        for number, span in enumerate(line_spans(self._bytes)):
            first.setdefault(self._row(number, span)["id"], (number, span))
        return list(first.values())


def line_spans(content: mmap.mmap) -> Iterator[tuple[int, int]]:
    """(first byte, byte behind the line break) of each line; a last one may lack its break."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        yield start, end
        start = end


def index_path(path: Path) -> Path:
    """Where the index of a file is."""
    return path.with_name(f"{path.name}.index.npy")


def write_index(path: Path, offsets: Sequence[int]) -> None:
    """Keep where the lines of `path` begin, and where the last one ends."""
    with atomic_file(index_path(path), mode=0o644, sync=True) as file:
        np.save(file, np.asarray(offsets, dtype=np.uint64), allow_pickle=False)


def _fitting_index(path: Path, size: int) -> Any:
    """Offsets of shape (lines + 1,), or None where there are none that cover the file."""
    try:
        offsets = np.load(index_path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = offsets.ndim == 1 and len(offsets) > 1 and offsets.dtype == np.uint64
    covers = sound and offsets[0] == 0 and offsets[-1] == size and bool((offsets[1:] > offsets[:-1]).all())
    return offsets if covers else None
