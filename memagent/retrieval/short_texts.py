"""Which of some hundred short texts answer a question: words, meaning, and a little recency.

score = z(BM25 over folded words) + 1.4 z(cosine) + 0.3 recency. Notes are short and stand alone, so neighbours, sessions and
lengths, which rank dialogue (`memagent.retrieval.scoring`), tell nothing here. Vectors are kept in the store by the digest of
their text; the few that are missing when somebody asks are computed then.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from memagent.db import log
from memagent.db.sqlite import Database
from memagent.db.vectors import get_vectors, put_vectors
from memagent.retrieval.embedders.base import Embedder, Vectors
from memagent.retrieval.lexical import LexicalIndex, joint_scores
from memagent.retrieval.zscores import Floats, moments, scaled
from memagent.text import attributes
from memagent.text.sentences import indexed_text
from memagent.text.tokens import query_terms, terms

DENSE = 1.4
RECENCY = 0.3
LENGTH = 11 / 15
"""`b` of BM25: with k1 = 1.2 a word adds idf / (0.6 + 0.4 length / mean length)."""
EMBED_AT_RECALL = 256
"""Most texts embedded while somebody waits; others are found by their words."""
_KEPT = 20_000
_AT_ONCE = 256


@dataclass(frozen=True)
class Text:
    """A text that is ranked: a note, what it said before, or a passage of a message."""

    key: str
    """What is embedded."""
    terms: frozenset[str]

    @classmethod
    def of(cls, text: str, speaker: str | None = None) -> Text:
        """A text, with who says it."""
        key = indexed_text(speaker, text)
        return cls(key, frozenset(attributes.fold(terms(key))))


class Texts:
    """Texts in an order of their own, and which of them hold a word."""

    def __init__(self, texts: Sequence[Text]) -> None:
        self.keys = [text.key for text in texts]
        self.matrix: tuple[str, Vectors] | None = None
        """The embedder's id and a vector for each text, once all are known."""
        self.words = LexicalIndex(b=LENGTH, delta=0.0)
        for text in texts:
            self.words.add(sorted(text.terms))  # a word counts once for each text

    def __len__(self) -> int:
        return len(self.keys)


def lexical_scores(query: str, *groups: Texts) -> Floats:
    """BM25 of the texts of all groups, one after the other."""
    return joint_scores(list(dict.fromkeys(attributes.fold(query_terms(query)))), *(group.words for group in groups))


def fused(lexical: Floats, dense: Floats | None, recency: Floats) -> Floats:
    """One score for each text; `dense` may hold NaN where a text has no vector."""
    total = scaled(lexical, moments(lexical)) + RECENCY * recency
    if dense is not None:
        total = total + DENSE * np.nan_to_num(scaled(dense, moments(dense)), nan=0.0)
    return total.astype(np.float32)


def nearest(queries: Sequence[str], texts: Sequence[str], *, most: int, vectors: Vectors | None) -> list[list[int]]:
    """For each query the places of the `most` nearest texts, the nearest first; of equals the earlier one.

    `vectors` are those of the texts and then of the queries, shape (texts + queries, dimension); None: by their words.
    """
    if not texts:
        return [[] for _ in queries]
    if vectors is None:
        index = Texts([Text.of(text) for text in texts])
        scores = [lexical_scores(query, index) for query in queries]
    else:
        scores = [vectors[: len(texts)] @ vector for vector in vectors[len(texts) :]]
    return [[int(row) for row in np.argsort(-one, kind="stable")[:most]] for one in scores]


class _Kept:
    """Vectors of one store in memory, by digest of their text, of one embedder at a time."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.vectors: dict[bytes, Vectors] = {}
        self.embedder = ""

    def get(self, keys: Sequence[bytes], embedder: str) -> dict[bytes, Vectors]:
        """Those that are there."""
        with self.guard:
            if self.embedder != embedder:
                self.vectors.clear()
                self.embedder = embedder
            return {key: self.vectors[key] for key in keys if key in self.vectors}

    def put(self, vectors: dict[bytes, Vectors], embedder: str) -> None:
        """Keep some; when they are too many, only these."""
        with self.guard:
            if self.embedder == embedder:
                if len(self.vectors) + len(vectors) > _KEPT:
                    self.vectors.clear()
                self.vectors.update(vectors)


_GUARD = threading.Lock()
_SHARED: WeakKeyDictionary[Database, _Kept] = WeakKeyDictionary()


class TextVectors:
    """Vectors of notes and passages, from memory, the store, or the embedder. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with _GUARD:
            self._kept = _SHARED.setdefault(database, _Kept())

    def of(self, user: int, texts: Texts, embedder: Embedder) -> Vectors:
        """As `matrix`, remembered with the texts as soon as it is complete."""
        if texts.matrix is not None and texts.matrix[0] == embedder.id:
            return texts.matrix[1]
        found = self.matrix(user, texts.keys, embedder)
        if not np.isnan(found).any():
            texts.matrix = (embedder.id, found)
        return found

    def matrix(self, user: int, texts: Sequence[str], embedder: Embedder, *, limit: int | None = EMBED_AT_RECALL) -> Vectors:
        """Vectors of shape (texts, dimension), rows of NaN where there is none; at most `limit` are computed, the last ones.

        Call it outside transactions.
        """
        keys = [log.digest(text) for text in texts]
        known = self._kept.get(keys, embedder.id)
        unknown = [key for key in dict.fromkeys(keys) if key not in known]
        if unknown:
            with self._database.read() as connection:
                found = get_vectors(connection, user, unknown)
            self._kept.put(found, embedder.id)
            known.update(found)
        missing = [(key, text) for key, text in dict(zip(keys, texts, strict=True)).items() if key not in known]
        known.update(self._embedded(embedder, missing if limit is None else missing[-limit:]))
        empty = np.full(embedder.dimension, np.nan, np.float32)
        return np.stack([known.get(key, empty) for key in keys]) if keys else np.zeros((0, embedder.dimension), np.float32)

    def store(self, user: int, texts: Sequence[str], embedder: Embedder) -> None:
        """Compute what is missing and keep it in the store."""
        keys = [log.digest(text) for text in texts]
        with self._database.read() as connection:
            stored = get_vectors(connection, user, keys)
        matrix = self.matrix(user, texts, embedder, limit=None)
        fresh = {key: vector for key, vector in zip(keys, matrix, strict=True) if key not in stored}
        if fresh:
            with self._database.write() as connection:
                put_vectors(connection, user, fresh)

    def _embedded(self, embedder: Embedder, texts: Sequence[tuple[bytes, str]]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            found.update(zip((key for key, _ in part), embedder.embed([text for _, text in part]), strict=True))
        self._kept.put(found, embedder.id)
        return found
