"""One score for each passage, from words, meaning, neighbours and the cues of a question.

score = z(lexical) + 1.4 z(dense) + both of these smoothed over the neighbours (0.4 from the turn before, 0.2 from the one
before that, 0.25 from the next; within a session only) + 1.2 z(BM25 of the whole session) + 1.4 z(log length)
+ 3 for the speaker whom the question names + 2 for a time word where the question asks when + 4 for the month it names
- 0.6 for a turn that is itself a question.

In a session of documents rather than talk (long messages, all of one voice or each of another) there is no turn to reply to and
a long text tells no more than a short one: neighbours count within one document only, lengths and questions not at all.

z-scores are taken over the user's live passages. The weights are rounded from a fit that left one LoCoMo conversation
out at a time; each term is a mechanism, not a memorised pattern: replies follow questions (neighbours), facts are told
by the person they are about (speaker), long turns tell more than short ones (length).

Up to `COMPLETE_LIMIT` passages everything is scored; beyond, the best lexical and dense candidates with their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.embedders.base import Vectors
from memagent.retrieval.index import UserIndex
from memagent.retrieval.zscores import Floats, moments, scaled
from memagent.text import tokens

Rows = NDArray[np.int64]
Mode = Literal["fused", "lexical", "dense"]

COMPLETE_LIMIT = 5_000
"""Passages up to which every one is scored in full; beyond, candidates are."""
DENSE_LIMIT = 12_000
"""Passages up to which the question is compared with every vector; beyond, an 8-bit scan finds candidates."""
CANDIDATES = 40
"""Best rows by words, and by meaning, that are scored in full when the index is large."""
SAMPLE = 256
"""Rows from which mean and deviation of the dense scores are estimated when the index is large."""

LEAST_LENGTH_SPREAD = 0.5
"""Deviation of log length below which lengths hardly differ: one unusual message among equals must not decide."""


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of the score (see the module)."""

    lexical: float = 1.0
    dense: float = 1.4
    neighbours: tuple[tuple[int, float], ...] = ((-1, 0.4), (-2, 0.2), (1, 0.25))
    """(offset, fraction) of the neighbours whose lexical and dense terms count for a passage too."""
    session: float = 1.2
    length: float = 1.4
    speaker: float = 3.0
    time_word: float = 2.0
    month: float = 4.0
    question: float = -0.6


class Ranked(NamedTuple):
    """A row of the index and its score."""

    row: int
    score: float


def rank(
    index: UserIndex,
    question: str,
    *,
    vector: Vectors | None,
    limit: int,
    session: str | None = None,
    mode: Mode = "fused",
    weights: Weights = Weights(),
) -> list[Ranked]:
    """The best rows for a question, best first. `vector` is the question's, None to do without meaning.

    Only live passages, and with `session` only those of that session. Call it under the index's lock, after `catch_up`.
    """
    allowed = index.allowed(session)
    if not allowed.any():
        return []
    scorer = _Scorer(index, question, vector, allowed, weights)
    rows = scorer.candidates()
    scores = {"fused": scorer.fused, "lexical": scorer.lexical_at, "dense": scorer.dense_at}[mode](rows)
    if len(rows) > 4 * limit:
        best = np.sort(np.argpartition(-scores, limit)[:limit])
        rows, scores = rows[best], scores[best]
    best = np.lexsort((rows, -scores))[:limit]
    return [Ranked(int(rows[i]), float(scores[i])) for i in best]


class _Scorer:
    """The terms of one question over one index."""

    def __init__(
        self, index: UserIndex, question: str, vector: Vectors | None, allowed: NDArray[np.bool_], weights: Weights
    ) -> None:
        self.index, self.question, self.weights, self.allowed = index, question, weights, allowed
        names = {name.lower(): number for name, number in index.named.speakers.items()}
        asked = tokens.words(question)
        self.named_speakers = [number for name, number in names.items() if tokens.words(name) & asked]
        self.terms = tokens.query_terms(question)
        self.nameless = tokens.query_terms(question, without=frozenset().union(*map(tokens.words, names)))
        self.lexical = index.lexical.scores(self.terms)
        self.vector = vector if index.vectors is not None and len(index.vectors) == len(index) else None
        self.prose = index.prose()[index.sessions.rows]
        self.complete = int(np.count_nonzero(allowed)) <= COMPLETE_LIMIT
        self.population: slice | NDArray[np.bool_] = slice(None) if allowed.all() else allowed
        self._dense: Floats | None = None
        if self.vector is not None and index.vectors is not None and len(index) <= DENSE_LIMIT:
            self._dense = index.vectors.scores(self.vector)

    def candidates(self) -> Rows:
        """Rows that are scored in full."""
        if self.complete:
            return np.flatnonzero(self.allowed)
        whole = isinstance(self.population, slice)
        lexical = _highest(self.lexical if whole else self.lexical * self.allowed, CANDIDATES)
        found = np.concatenate([lexical, self._nearest()])
        if not len(found):  # nothing matches: the newest
            found = np.flatnonzero(self.allowed)[-CANDIDATES:]
        around = np.concatenate([found, *(self.index.neighbours(found, -offset) for offset, _ in self.weights.neighbours)])
        rows = np.unique(around[around >= 0])
        kept: Rows = rows[self.allowed[rows]]
        return kept

    def _nearest(self) -> Rows:
        """Allowed rows whose meaning is nearest to the question's, in no order."""
        if self.vector is None or self.index.vectors is None:
            return np.empty(0, np.int64)
        if self._dense is not None:
            return _highest((self._dense + 2) * self.allowed, CANDIDATES)
        rows = np.flatnonzero(self.allowed)
        if 2 * len(rows) > len(self.index):  # few are hidden: the scan finds enough that are not
            return self.index.vectors.nearest(self.vector, 2 * CANDIDATES)
        return rows[_highest(self.dense_at(rows) + 2, CANDIDATES)]

    def lexical_at(self, rows: Rows) -> Floats:
        """BM25 of each row."""
        return self.lexical[rows]

    def dense_at(self, rows: Rows) -> Floats:
        """Cosine of each row with the question; 0 without vectors."""
        if self._dense is not None:
            return self._dense[rows]
        if self.vector is None or self.index.vectors is None:
            return np.zeros(len(rows), np.float32)
        return self.index.vectors.scores(self.vector, rows=rows)

    def fused(self, rows: Rows) -> Floats:
        """The whole score of each row."""
        weights, index = self.weights, self.index
        total = self._own_and_neighbours(rows)
        total += weights.session * self._session_term(rows)
        mean, deviation = index.length_moments()
        length = scaled(index.lengths.rows[rows], (mean, max(deviation, LEAST_LENGTH_SPREAD)))
        total += (weights.length * length + weights.question * index.questions.rows[rows]) * ~self.prose[rows]
        if len(self.named_speakers) == 1:
            total += weights.speaker * (index.speakers.rows[rows] == self.named_speakers[0])
        if tokens.asks_time(self.question):
            total += weights.time_word * index.times.rows[rows]
        month = tokens.month_named(self.question)
        if month is not None:
            total += weights.month * (index.months.rows[rows] == month)
        return total.astype(np.float32)

    def _own_and_neighbours(self, rows: Rows) -> Floats:
        """z(lexical) + weighted z(dense) of each row, and fractions of its neighbours' within the session."""
        sessions, alive = self.index.sessions.rows, self.index.alive.rows
        moved = [self.index.neighbours(rows, offset) for offset, _ in self.weights.neighbours]
        needed = np.unique(np.concatenate([rows, *(other[other >= 0] for other in moved)]))
        own = self._own(needed)
        total = own[np.searchsorted(needed, rows)]
        for (_, fraction), other in zip(self.weights.neighbours, moved, strict=True):
            counts = (sessions[other] == sessions[rows]) & (other >= 0) & alive[other]
            counts &= ~self.prose[rows] | (self.index.seqs.rows[other] == self.index.seqs.rows[rows])
            total += fraction * own[np.searchsorted(needed, np.maximum(other, 0))] * counts
        return total

    def _own(self, rows: Rows) -> Floats:
        """z(lexical) + weighted z(dense), with moments over all allowed rows, or a sample of them."""
        index = self.index
        total = self.weights.lexical * scaled(self.lexical[rows], moments(self.lexical[self.population]))
        if self.vector is not None:
            dense = scaled(self.dense_at(rows), self._dense_moments())
            total = total + self.weights.dense * dense * index.embedded.rows[rows]
        return total.astype(np.float32)

    def _dense_moments(self) -> tuple[float, float]:
        """Moments of the dense scores of all allowed rows, or of a sample of them."""
        vectors = self.index.vectors
        if self.vector is None or vectors is None:
            return 0.0, 0.0
        step = 1 if self.complete else max(1, len(self.index) // SAMPLE)
        counted = (self.allowed & self.index.embedded.rows)[::step]
        scores = self._dense[::step] if self._dense is not None else np.einsum("ij,j->i", vectors.rows[::step], self.vector)
        return moments(scores if counted.all() else scores[counted])

    def _session_term(self, rows: Rows) -> Floats:
        if len(self.index.named.sessions) < 2:
            return np.zeros(len(rows), np.float32)
        groups = self.index.sessions.rows
        scores = self.index.lexical.group_scores(self.nameless, groups, number=len(self.index.shapes))
        return scaled(scores[groups[rows]], moments(scores[groups[self.population]]))


def _highest(values: Floats, count: int) -> Rows:
    """Rows of the `count` highest positive values, in no order."""
    rows = np.flatnonzero(values > 0)
    if len(rows) > count:
        rows = rows[np.argpartition(-values[rows], count)[:count]]
    return rows
