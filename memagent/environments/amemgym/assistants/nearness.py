"""How near texts are to one another: exactly, by the cosine of vectors, or by common words where there is no embedder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.short_texts import Text, Texts, lexical_scores

Floats = NDArray[np.float32]


class Nearness:
    """Compares texts with those of a memory, whose vectors are kept as long as the memory has them."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._vectors: dict[str, Floats] = {}

    def nearest(self, queries: Sequence[str], texts: Sequence[str], *, most: int) -> list[list[int]]:
        """For each query the places of the nearest texts, the nearest first; of equals the earlier one."""
        if not texts or not queries:
            return [[] for _ in queries]
        return [[int(row) for row in np.argsort(-scores, kind="stable")[:most]] for scores in self._scores(queries, texts)]

    def _scores(self, queries: Sequence[str], texts: Sequence[str]) -> list[Floats]:
        if self._embedder is None:
            words = Texts([Text.of(text) for text in texts])
            return [lexical_scores(query, words) for query in queries]
        wanted = dict.fromkeys([*queries, *texts])
        new = [text for text in wanted if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, np.asarray(self._embedder.embed(new), np.float32), strict=True))
        rows = np.stack([self._vectors[text] for text in texts])
        found = [np.asarray(rows @ self._vectors[query], np.float32) for query in queries]
        self._vectors = {text: self._vectors[text] for text in dict.fromkeys(texts)}
        return found
