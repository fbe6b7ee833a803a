"""`HashEmbedder`: hashed words and word pairs. It needs no model: good for tests and for timing a store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from memagent.retrieval.embedders.base import Role, Vectors

_WORD = re.compile(r"\w+")


class HashEmbedder:
    """Signed feature hashing of words and word pairs: deterministic across processes, machines and hash seeds. Symmetric."""

    def __init__(self, *, dimension: int = 384) -> None:
        self.dimension = dimension
        self.id = f"hash:{dimension}"

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimension); a text without words is the first unit vector."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            words = _WORD.findall(text.lower())
            for feature in (*words, *map(" ".join, pairwise(words))):
                code = _feature_code(feature)
                row[(code >> 1) % self.dimension] += 1.0 if code & 1 else -1.0
            norm = float(np.linalg.norm(row))
            if norm:
                np.divide(row, norm, out=row)
            else:
                row[0] = 1.0
        return vectors


@lru_cache(maxsize=65536)
def _feature_code(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest(), "big")
