"""One plain ranking of sentences for every method, so that what is compared is how memories show text, not how they search.

The score of a sentence is z(cosine with the question) + z(BM25), each standardised over the sentences of its context;
without an embedder the second term alone. Both see the sentence behind the title of its document.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memagent.environments.long_qa.dataset import Document
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.lexical import LexicalIndex
from memagent.text.tokens import query_terms, terms

Scores = NDArray[np.float64]


class Ranked(NamedTuple):
    """A sentence by its place, and its score; higher is better."""

    document: int
    sentence: int
    score: float


class Ranker:
    """Ranks the sentences of one context after another; each distinct text is embedded once."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def rank(self, question: str, documents: Sequence[Document]) -> list[Ranked]:
        """Every sentence that is not empty, the best first; equals in the order of the context."""
        places = [
            (place, at) for place, one in enumerate(documents) for at, sentence in enumerate(one.sentences) if sentence.strip()
        ]
        if not places:
            return []
        texts = [f"{documents[place].title}: {documents[place].sentences[at]}" for place, at in places]
        scores = _standard(_lexical(question, texts))
        if self._embedder is not None:
            scores = scores + _standard(self._cosines(question, texts, self._embedder))
        order = np.argsort(-scores, kind="stable").tolist()
        return [Ranked(places[row][0], places[row][1], float(scores[row])) for row in order]

    def _cosines(self, question: str, texts: Sequence[str], embedder: Embedder) -> Scores:
        """Cosine of each text with the question, shape (len(texts),)."""
        new = [text for text in dict.fromkeys([question, *texts]) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, embedder.embed(new), strict=True))
        return np.stack([self._vectors[text] for text in texts]).astype(np.float64) @ self._vectors[question]


def _lexical(question: str, texts: Sequence[str]) -> Scores:
    """BM25 of each text, shape (len(texts),)."""
    index = LexicalIndex()
    for text in texts:
        index.add(terms(text))
    return index.scores(query_terms(question)).astype(np.float64)


def _standard(values: Scores) -> Scores:
    """z-scores; zeros where all values are equal."""
    deviation = float(values.std())
    return (values - values.mean()) / deviation if deviation > 1e-9 else np.zeros_like(values)
