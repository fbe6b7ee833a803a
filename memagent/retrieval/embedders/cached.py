"""An embedder that embeds each text once, and linear algebra that gives the same bits in every run.

Vectors are kept by a digest of their text, so a cache holds no words. Whoever compares runs to the last bit also embeds each
new text alone (`one_by_one`): the last bits of a vector depend on its neighbours in a batch.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from memagent.retrieval.embedders.base import Embedder, Role, Vectors


class CachedEmbedder:
    """Wraps an embedder; thread-safe. Of more than `max_texts` vectors the oldest are dropped; None keeps all."""

    def __init__(self, inner: Embedder, *, one_by_one: bool = False, max_texts: int | None = None) -> None:
        self.inner = inner
        self.id = inner.id
        self.one_by_one = one_by_one
        self.max_texts = max_texts
        self._known: dict[bytes, Vectors] = {}
        self._lock = threading.Lock()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.inner.dimension

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimension), as the embedder inside gives them."""
        person = role.encode()
        keys = [
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=person).digest() for text in texts
        ]
        with self._lock:  # held while embedding: two threads never embed the same text
            new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
            size = 1 if self.one_by_one else max(len(new), 1)
            for start in range(0, len(new), size):
                part = list(new)[start : start + size]
                self._known.update(zip(part, self.inner.embed([new[key] for key in part], role=role), strict=True))
            rows = [self._known[key] for key in keys]
            while self.max_texts is not None and len(self._known) > self.max_texts:
                del self._known[next(iter(self._known))]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32)


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Linear algebra on one thread: how a sum is shared out among several changes its last bits."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with the embedders that need it
        yield
        return
    with threadpool_limits(1, user_api="blas"):
        yield
