"""Vectors that come out the same, to the last bit, in every run, however many memories are at work."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memagent.retrieval.embedders.base import Embedder, Vectors


class Alone:
    """Wraps an embedder: each text is embedded once, alone, because the last bits depend on the neighbours in a batch."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.id = inner.id
        self._known: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def dimension(self) -> int:
        """That of the embedder inside."""
        return self._inner.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A row for each text."""
        import numpy as np

        with self._lock:
            for text in texts:
                if text not in self._known:
                    self._known[text] = self._inner.embed([text])[0]
        rows: Vectors = np.stack([self._known[text] for text in texts])
        return rows


@contextmanager
def steady() -> Iterator[None]:
    """Linear algebra on one thread: how a sum is shared out among several changes its last bits."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with the embedders that need it
        yield
        return
    with threadpool_limits(1, user_api="blas"):
        yield
