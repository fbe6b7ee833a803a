"""Nearest vectors: exact scores for candidates, candidates from a scan of codes.

The scan reads one bit of each number (RaBitQ, Gao and Long 2024, arXiv 2405.12497, as FAISS has it); the vectors are turned
before, by which the bits of any embedder tell about as much. Exact scores of the best `SCANNED` times as many as are wanted
then pick those. Measured on 100,000 vectors of 384 numbers: the scan takes a millisecond where one of 8-bit numbers takes
eight, and a full float32 product more, but codes for all are made in half a second; an insert into a graph costs as much as
a scan. Both grow by appending. Small indexes are scored whole (`scoring.COMPLETE_LIMIT`). For the first searches, and
without FAISS, the exact product serves at every size.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.embedders.base import Vectors
from memagent.retrieval.growable_array import GrowableArray

SCANNED = 6
"""Times as many rows as are wanted whose exact scores are computed; so all but 1 in 100 of the nearest are found."""
MOST_CHANGED = 2_000
"""Rows whose codes are stale up to which they are compared exactly; more, and all codes are made anew."""
EXACT_AT_FIRST = 32
"""Searches that compute every score; only who searches on makes good the second that codes for 100,000 vectors take."""
LEARNT_FROM = 5_000
"""Vectors from which their mean is learnt."""
CODED_AT_ONCE = 256
"""New rows that get their codes together; until then they are compared exactly."""


class VectorIndex:
    """Unit vectors by row. A row without a vector (not embedded yet) is all zeros."""

    def __init__(self, dimension: int) -> None:
        self._rows: GrowableArray[np.float32] = GrowableArray(np.float32, width=dimension)
        self._coarse: Any = None  # faiss.IndexPreTransform over the first `_coarse.ntotal` rows
        self._trained_on = 0
        self._changed: set[int] = set()  # rows whose codes are stale
        self._searches = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Vectors:
        """All vectors, shape (n, dimension)."""
        return self._rows.rows

    def extend(self, vectors: Vectors) -> None:
        """Append rows."""
        self._rows.extend(vectors)

    def put(self, row: int, vector: Vectors) -> None:
        """Fill in a row that was appended without its vector."""
        self.rows[row] = vector
        if self._coarse is not None and row < self._coarse.ntotal:
            self._changed.add(row)

    def clear(self, rows: NDArray[np.int64]) -> None:
        """Forget the vectors of rows. A scan may still name them, so a caller asks of each row whether it counts."""
        self.rows[rows[rows < len(self)]] = 0.0

    def scores(self, query: Vectors, *, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Cosine of the query, shape (dimension,), with all rows or the ones named."""
        chosen = self.rows if rows is None else self.rows[rows]
        result: NDArray[np.float32] = np.einsum("ij,j->i", chosen, query)  # `@` would wait for BLAS threads
        return result

    def nearest(self, query: Vectors, count: int) -> NDArray[np.int64]:
        """Rows of about the `count` nearest vectors, in no order."""
        self._searches += 1
        coded = self._searches > EXACT_AT_FIRST and _faiss_installed()
        rows = self._scanned(query, SCANNED * count) if coded else np.arange(len(self))
        if len(rows) <= count:
            return rows
        scores = self.scores(query, rows=rows if coded else None)
        found: NDArray[np.int64] = rows[np.argpartition(-scores, count - 1)[:count]]
        return found

    def _scanned(self, query: Vectors, count: int) -> NDArray[np.int64]:
        """Rows among which the nearest are: the best by their codes, and those whose vectors have none yet."""
        import faiss

        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # two would wait for each other on a busy machine
        try:
            self._refresh()
            _, labels = self._coarse.search(query[None, :], min(count, self._coarse.ntotal))
        finally:
            faiss.omp_set_num_threads(threads)
        coded = labels[0][labels[0] >= 0]
        uncoded = np.arange(self._coarse.ntotal, len(self))
        found = np.concatenate([coded, uncoded])
        return np.union1d(found, list(self._changed)) if self._changed else found

    def _refresh(self) -> None:
        """Bring the codes up to date; all are made anew whenever the rows have doubled, or many have changed."""
        import faiss

        if self._coarse is None or len(self) > 2 * self._trained_on or len(self._changed) > MOST_CHANGED:
            dimension = self.rows.shape[1]
            turn = faiss.RandomRotationMatrix(dimension, dimension)
            turn.init(0)
            self._coarse = faiss.IndexPreTransform(turn, faiss.IndexRaBitQFastScan(dimension, faiss.METRIC_INNER_PRODUCT))
            self._coarse.train(self.rows[:: 1 + len(self) // LEARNT_FROM])
            self._trained_on = len(self)
            self._changed.clear()
        if self._coarse.ntotal + CODED_AT_ONCE <= len(self) or not self._coarse.ntotal:
            self._coarse.add(self.rows[self._coarse.ntotal :])


@lru_cache(maxsize=1)
def _faiss_installed() -> bool:
    return find_spec("faiss") is not None
