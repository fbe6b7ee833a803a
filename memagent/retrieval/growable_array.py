"""Growable NumPy columns: appending one row costs constant time on average, reading them all costs nothing."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

S = TypeVar("S", bound=np.generic)


class GrowableArray(Generic[S]):
    """Rows of one type, of shape (n,) or (n, width)."""

    def __init__(self, dtype: type[S], *, width: int | None = None) -> None:
        self._tail = () if width is None else (width,)
        self._rows: NDArray[S] = np.empty((64, *self._tail), dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> NDArray[S]:
        """All rows, without copying; valid until the next append."""
        return self._rows[: self._size]

    def append(self, value: ArrayLike) -> None:
        """Append one row."""
        self._reserve(self._size + 1)
        self._rows[self._size] = value
        self._size += 1

    def extend(self, values: ArrayLike) -> None:
        """Append rows."""
        added = np.asarray(values, self._rows.dtype).reshape(-1, *self._tail)
        needed = self._size + len(added)
        self._reserve(needed)
        self._rows[self._size : needed] = added
        self._size = needed

    def _reserve(self, needed: int) -> None:
        if needed > len(self._rows):
            grown: NDArray[S] = np.empty((max(needed + needed // 4, 2 * len(self._rows)), *self._tail), self._rows.dtype)
            grown[: self._size] = self.rows
            self._rows = grown
