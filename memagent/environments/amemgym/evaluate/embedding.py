"""An embedder for many memories at once: each text is embedded once, alone, so that nothing depends on its neighbours."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memagent.retrieval.embedder import Embedder, Vectors


class Alone:
    """Wraps an embedder. In a batch, padding changes the last bits of a vector; here the same text has the same ones."""

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
