"""One score for each passage, from words, meaning, neighbours and the cues of a question.

score = z(lexical) + 1.4 z(dense) + both of these smoothed over the neighbours (0.4 from the turn before, 0.2 from the one
before that, 0.25 from the next; within a session only) + 1.2 z(BM25 of the whole session) + 1.4 z(log length)
+ 3 for the speaker whom the question names + 2 for a time word where the question asks when + 4 for the month it names
- 0.6 for a turn that is itself a question.

z-scores are taken over the user's live passages. The weights are rounded from a fit that left one LoCoMo conversation
out at a time; each term is a mechanism, not a memorised pattern: replies follow questions (neighbours), facts are told
by the person they are about (speaker), long turns tell more than short ones (length).

Up to `SCAN_LIMIT` passages everything is scored; beyond, the best lexical and dense candidates with their neighbours are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval import analysis
from memagent.retrieval.embedder import Vectors
from memagent.retrieval.index import UserIndex
from memagent.retrieval.vectors import SCAN_LIMIT

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Mode = Literal["fused", "lexical", "dense"]

CANDIDATES = 100
"""Best rows by words, and by meaning, that are scored in full when the index is large."""
SAMPLE = 2_048
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
    weights: Weights = Weights(),  # noqa: B008 - immutable
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
    best = np.lexsort((rows, -scores))[:limit]
    return [Ranked(int(rows[i]), float(scores[i])) for i in best]


class _Scorer:
    """The terms of one question over one index."""

    def __init__(
        self, index: UserIndex, question: str, vector: Vectors | None, allowed: NDArray[np.bool_], weights: Weights
    ) -> None:
        self.index, self.question, self.weights, self.allowed = index, question, weights, allowed
        names = {name.lower(): number for name, number in index.named.speakers.items()}
        asked = analysis.words(question)
        self.named_speakers = [number for name, number in names.items() if analysis.words(name) & asked]
        self.terms = analysis.query_terms(question)
        self.nameless = analysis.query_terms(question, without=frozenset().union(*map(analysis.words, names)))
        self.lexical = index.lexical.scores(self.terms)
        self.vector = vector if index.vectors is not None and len(index.vectors) == len(index) else None
        self.complete = int(np.count_nonzero(allowed)) <= SCAN_LIMIT
        self._dense: Floats | None = None
        if self.vector is not None and len(index) <= SCAN_LIMIT:
            assert index.vectors is not None
            self._dense = index.vectors.scores(self.vector)

    def candidates(self) -> Rows:
        """Rows that are scored in full."""
        if self.complete:
            return np.flatnonzero(self.allowed)
        matching = np.flatnonzero((self.lexical > 0) & self.allowed)
        if len(matching) > CANDIDATES:
            matching = matching[np.argpartition(-self.lexical[matching], CANDIDATES)[:CANDIDATES]]
        found = [matching]
        if self.vector is not None and self.index.vectors is not None:
            found.append(self.index.vectors.nearest(self.vector, CANDIDATES))
        seeds = np.concatenate(found)
        if not len(seeds):
            return np.flatnonzero(self.allowed)[-CANDIDATES:]
        around = np.concatenate([seeds - offset for offset, _ in self.weights.neighbours] + [seeds])
        rows = np.unique(np.clip(around, 0, len(self.index) - 1))
        return rows[self.allowed[rows]]

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
        own = _OwnTerm(self)
        total = own(rows)
        sessions = index.sessions.rows
        for offset, fraction in weights.neighbours:
            other = np.clip(rows + offset, 0, len(index) - 1)
            same = (sessions[other] == sessions[rows]) & (other == rows + offset) & index.alive.rows[other]
            total += fraction * own(other) * same
        total += weights.session * self._session_term(rows)
        mean, deviation = _moments(index.lengths.rows[self.allowed])
        total += weights.length * _scaled(index.lengths.rows[rows], (mean, max(deviation, LEAST_LENGTH_SPREAD)))
        total += weights.question * index.questions.rows[rows]
        if len(self.named_speakers) == 1:
            total += weights.speaker * (index.speakers.rows[rows] == self.named_speakers[0])
        if analysis.asks_time(self.question):
            total += weights.time_word * index.times.rows[rows]
        month = analysis.month_named(self.question)
        if month is not None:
            total += weights.month * (index.months.rows[rows] == month)
        return total.astype(np.float32)

    def _session_term(self, rows: Rows) -> Floats:
        groups = self.index.sessions.rows
        scores = self.index.lexical.group_scores(self.nameless, groups, number=len(self.index.named.sessions))
        return _z(scores[groups[rows]], scores[groups[self.allowed]])


class _OwnTerm:
    """z(lexical) + weighted z(dense) of any rows, with mean and deviation learnt once."""

    def __init__(self, scorer: _Scorer) -> None:
        self.scorer = scorer
        sample = np.flatnonzero(scorer.allowed)
        if not scorer.complete:
            sample = sample[:: max(1, len(sample) // SAMPLE)]
        self.lexical_moments = _moments(scorer.lexical[scorer.allowed])
        embedded = sample[scorer.index.embedded.rows[sample]]
        self.dense_moments = _moments(scorer.dense_at(embedded))

    def __call__(self, rows: Rows) -> Floats:
        scorer = self.scorer
        total = scorer.weights.lexical * _scaled(scorer.lexical[rows], self.lexical_moments)
        if scorer.vector is not None:
            dense = _scaled(scorer.dense_at(rows), self.dense_moments)
            total = total + scorer.weights.dense * dense * scorer.index.embedded.rows[rows]
        return total.astype(np.float32)


def _moments(values: Floats) -> tuple[float, float]:
    """Mean and deviation; deviation 0 where there is nothing to tell apart."""
    if len(values) < 2:
        return (float(values.mean()) if len(values) else 0.0), 0.0
    return float(values.mean()), float(values.std())


def _scaled(values: Floats, moments: tuple[float, float]) -> Floats:
    mean, deviation = moments
    if deviation < 1e-9:
        return np.zeros(len(values), np.float32)
    return (values - mean) / deviation


def _z(values: Floats, population: Floats) -> Floats:
    return _scaled(values, _moments(population))
