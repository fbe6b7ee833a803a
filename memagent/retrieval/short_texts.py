"""Which of some hundred short texts answer a question: words, meaning, and a little recency.

score = z(BM25 over folded words) + 1.4 z(cosine) + 0.3 recency. Notes are short and stand alone, so neighbours, sessions and
lengths, which rank dialogue (`memagent.retrieval.scoring`), tell nothing here. Vectors are kept in the store by the digest of
their text; the few that are missing when somebody asks are computed then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memagent.retrieval.embedders.base import Vectors
from memagent.retrieval.embedders.cached import CachedEmbedder
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
        self._vectors: tuple[str, Vectors] | None = None  # with the embedder's id, once all are known
        self.words = LexicalIndex(b=LENGTH, delta=0.0)
        for text in texts:
            self.words.add(sorted(text.terms))  # a word counts once for each text

    def __len__(self) -> int:
        return len(self.keys)

    def vectors(self, embedder: CachedEmbedder) -> Vectors:
        """A vector for each text, shape (texts, dimension), of NaN where there is none yet."""
        if self._vectors is not None and self._vectors[0] == embedder.id:
            return self._vectors[1]
        found = embedder.embed_some(self.keys, limit=EMBED_AT_RECALL)
        if not np.isnan(found).any():
            self._vectors = (embedder.id, found)
        return found


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
