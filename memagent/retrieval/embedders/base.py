"""Embedders: texts in, unit vectors out.

An embedder has an `id` that changes whenever its vectors would: the store keeps it in its header and refuses to mix.
`HashEmbedder` needs no model and no download: hashed words and word pairs, good for tests and for timing a store.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_WORD = re.compile(r"\w+")


class Embedder(Protocol):
    """Maps texts to vectors of unit length."""

    id: str
    """Names model, version and settings; two embedders with the same id give the same vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimension), float32, each of length 1."""
        ...


class HashEmbedder:
    """Signed feature hashing of words and word pairs: deterministic across processes, machines and hash seeds."""

    def __init__(self, *, dimension: int = 384) -> None:
        self.dimension = dimension
        self.id = f"hash:{dimension}"

    def embed(self, texts: Sequence[str]) -> Vectors:
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
