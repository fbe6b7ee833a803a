"""One score for each passage, from words, meaning, the talk around it, and the cues of the question.

score = 0.7 z(lexical) + 1.4 z(dense), and fractions of these for the messages around (0.4 for the one before, 0.2 for the one
before that, 0.25 for the next) + 3.5 z(late interaction) + 1 z(BM25 of the whole session) + 6 for the speaker whom the question
names (3 for the one named first, where it names several) + 5 for a time word where the question asks when + 12 nearness to the
days that it names - 1 for a turn that is itself a question, where people talk among themselves.

Late interaction (`memagent.retrieval.token_index`) looks at each word of the question: its value is the best cosine in the
passage, or 0.9 of that in the messages next to it, 0.8 of that two away, 0.75 three before; the words' values are added, each
by how rare it is. So the words of a question may be spread over a turn and the reply. Names of participants are no part of
what is compared by meaning: the speaker term is for them. The title of a document is no participant, though it stands where a
speaker does: its words are words like any other (`PassageTable.participants`).

Beside an assistant people mostly ask about what they said themselves, while the long answers hold every word: the assistant's
passages get 5 less, or 5 more where the question is what the assistant said (`memagent.retrieval.question`). An answer repeats
the words that it answers, and the next request is of something else: there neighbours add nothing to the first two terms, and
late interaction, which looks at what people say only, weighs 1. A message is as good as its best passage, and neighbours are
messages, not passages (`memagent.retrieval.neighbourhood`).

z-scores are taken over the user's live passages. Weights are rounded by hand, near the middle of a flat optimum over talk of
people and chats with an assistant; each term is a mechanism. Without token states, or without an embedder, the other
terms rank.

Up to `COMPLETE_LIMIT` passages everything is scored; beyond, the best lexical and dense candidates with their neighbours.
Late interaction is computed for all passages of a small memory, and in a larger one for those that the other terms rank best.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.embedders.base import Embedder, TokenStates, Vectors, gives_tokens
from memagent.retrieval.index import UserIndex
from memagent.retrieval.neighbourhood import Neighbourhood
from memagent.retrieval.question import asks_assistant, named_in_order, without_names
from memagent.retrieval.zscores import Floats, moments, scaled
from memagent.text import tokens
from memagent.text.dates import DateInterval, date_intervals, nearness

Rows = NDArray[np.int64]
Mode = Literal["fused", "lexical", "dense"]

COMPLETE_LIMIT = 5_000
"""Passages up to which every one is scored; beyond, candidates are, those by meaning out of a scan of codes."""
STATES_LIMIT = 16_000
"""Token states up to which all are compared with the question's; beyond, those of the passages that rank best without."""
CANDIDATES = 40
"""Best rows by words, and by meaning, that are scored in full when the index is large."""
LATE_CANDIDATES = 100
"""Best rows without late interaction for which it is computed, at least."""
SAMPLE = 256
"""Rows from which the spread of scores is estimated when not all are computed."""

_BLOCK = 256
"""Rows of which the highest is looked for first."""


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of the score (see the module)."""

    lexical: float = 0.7
    dense: float = 1.4
    neighbours: tuple[tuple[int, float], ...] = ((-1, 0.4), (-2, 0.2), (1, 0.25))
    """(offset, fraction) of the messages around whose lexical and dense terms count for a passage too."""
    late: float = 3.5
    late_with_assistant: float = 1.0
    window: tuple[tuple[int, float], ...] = ((-1, 0.9), (1, 0.9), (-2, 0.8), (2, 0.8), (-3, 0.75))
    """(offset, fraction) of the messages around in which the words of the question may stand."""
    session: float = 1.0
    speaker: float = 6.0
    first_speaker: float = 3.0
    time_word: float = 5.0
    date: float = 12.0
    question: float = -1.0
    assistant: float = 5.0


class Ranked(NamedTuple):
    """A row of the index and its score."""

    row: int
    score: float


class Embedded(NamedTuple):
    """A question as its embedder sees it, without the names of participants."""

    vector: Vectors
    tokens: TokenStates | None
    """None where the embedder gives none."""


def embedded(embedder: Embedder, question: str, names: Iterable[str]) -> Embedded:
    """Embed a question about a talk of people with these names."""
    nameless = without_names(question, names)
    if not gives_tokens(embedder):
        return Embedded(embedder.embed([nameless], role="query")[0], None)
    [vector], [states] = embedder.embed_tokens([nameless], role="query")
    return Embedded(vector, states)


def rank(
    index: UserIndex,
    question: str,
    *,
    asked: Embedded | None,
    limit: int,
    now: datetime,
    session: str | None = None,
    mode: Mode = "fused",
    messages: bool = False,
    weights: Weights = Weights(),
) -> list[Ranked]:
    """The best rows for a question that was asked `now`, best first. `asked` is None to do without meaning.

    Only live passages, and with `session` only those of that session; with `messages` only the best of each message. Call it
    under the index's lock, after `catch_up`.
    """
    allowed = index.allowed(session)
    if not allowed.any():
        return []
    scorer = _Scorer(index, question, asked, allowed, now, weights)
    rows = scorer.candidates()
    if mode == "fused":
        rows, scores = scorer.fused(rows, least=2 * limit)
    else:
        scores = scorer.lexical[rows] if mode == "lexical" else scorer.dense_at(rows)
    if messages:
        order = np.lexsort((rows, -scores))
        _, first = np.unique(index.seqs.rows[rows[order]], return_index=True)
        rows, scores = rows[order[first]], scores[order[first]]
    if len(rows) > 4 * limit:
        best = np.sort(np.argpartition(-scores, limit)[:limit])
        rows, scores = rows[best], scores[best]
    best = np.lexsort((rows, -scores))[:limit]
    return [Ranked(int(rows[i]), float(scores[i])) for i in best]


class _Scorer:
    """The terms of one question over one index."""

    def __init__(
        self,
        index: UserIndex,
        question: str,
        asked: Embedded | None,
        allowed: NDArray[np.bool_],
        now: datetime,
        weights: Weights,
    ) -> None:
        self.index, self.question, self.weights, self.allowed, self.now = index, question, weights, allowed, now
        self.lexical = index.lexical.scores(tokens.query_terms(question))
        self.number = int(np.count_nonzero(allowed))
        self.complete = self.number <= COMPLETE_LIMIT
        self.population: slice | NDArray[np.bool_] = slice(None) if self.number == len(allowed) else allowed
        self.talk = index.talk()
        self.vector = None if asked is None or index.vectors is None else asked.vector
        self.tokens = None if asked is None else asked.tokens
        self._dense: Floats | None = None
        if self.vector is not None and index.vectors is not None and len(index) <= COMPLETE_LIMIT:
            self._dense = index.vectors.scores(self.vector)

    def candidates(self) -> Rows:
        """Rows that are scored."""
        if self.complete:
            return np.flatnonzero(self.allowed)
        whole = isinstance(self.population, slice)
        lexical = _highest(self.lexical if whole else self.lexical * self.allowed, CANDIDATES)
        found = np.unique(np.concatenate([lexical, self._nearest()]))
        if not len(found):  # nothing matches: the newest
            found = np.flatnonzero(self.allowed)[-CANDIDATES:]
        around = Neighbourhood(self.index, found, [-offset for offset, _ in self.weights.neighbours]).rows
        kept: Rows = around[self.allowed[around]]
        return kept

    def _nearest(self) -> Rows:
        """Allowed rows whose meaning is nearest to the question's, in no order."""
        if self.vector is None or self.index.vectors is None:
            return np.empty(0, np.int64)
        if 2 * self.number > len(self.index):  # few are hidden: the scan finds enough that are not
            return self.index.vectors.nearest(self.vector, 2 * CANDIDATES)
        rows = np.flatnonzero(self.allowed)
        return rows[_highest(self.dense_at(rows) + 2, CANDIDATES)]

    def dense_at(self, rows: Rows) -> Floats:
        """Cosine of each row with the question; 0 without vectors."""
        if self._dense is not None:
            return self._dense[rows]
        if self.vector is None or self.index.vectors is None:
            return np.zeros(len(rows), np.float32)
        return self.index.vectors.scores(self.vector, rows=rows)

    def fused(self, rows: Rows, *, least: int) -> tuple[Rows, Floats]:
        """The whole score of each row; of a large memory at least of the `least` best rows."""
        scores = self._own_and_neighbours(rows) + self._session_term(rows) + self._cues(rows)
        index = self.index.tokens
        if index is None or self.tokens is None or index.form != self.tokens.form or not len(self.tokens.ids):
            return rows, scores.astype(np.float32)
        whole = self.complete and int(index.numbers(rows).sum()) <= STATES_LIMIT
        if not whole:
            kept = np.sort(_highest(scores - scores.min() + 1, max(LATE_CANDIDATES, least)))
            rows, scores = rows[kept], scores[kept]
        around = Neighbourhood(self.index, rows, [offset for offset, _ in self.weights.window])
        rarity = index.rarity(self.tokens.ids)
        values = index.best(self.tokens.states, around.rows)  # (rows around, words of the question)
        best, units = values[np.searchsorted(around.rows, rows)], around.best(values)
        for offset, fraction in self.weights.window:
            np.maximum(best, fraction * around.at(offset, units), out=best)
        late = best @ rarity
        has = self.index.tokenized.rows[rows] & ~self.index.of_assistant(rows)
        by = moments(late[has] if whole else index.best(self.tokens.states, self._sample()) @ rarity)
        with_assistant = self.talk.with_assistant[self.index.sessions.rows[rows]]
        weight = np.where(with_assistant, self.weights.late_with_assistant, self.weights.late)
        return rows, (scores + weight * scaled(late, by) * has).astype(np.float32)

    def _sample(self) -> Rows:
        """Some rows that have token states."""
        rows = np.flatnonzero(self.allowed & self.index.tokenized.rows)
        rows = rows[~self.index.of_assistant(rows)]
        return rows[:: max(1, len(rows) // SAMPLE)]

    def _cues(self, rows: Rows) -> Floats:
        """What does not depend on words: who speaks, when, and how."""
        weights, index = self.weights, self.index
        total = np.zeros(len(rows), np.float32)
        named = named_in_order(self.question, self.talk.participants)
        if named:
            weight = weights.speaker if len(named) == 1 else weights.first_speaker
            total += weight * (index.speakers.rows[rows] == self.talk.participants[named[0]])
        if tokens.asks_time(self.question):
            total += weights.time_word * index.times.rows[rows]
        if asked := self._days_asked():
            days, told = index.days.rows[rows], index.told.rows[rows]
            total += weights.date * np.maximum(nearness(asked, days, days), nearness(asked, told[:, 0], told[:, 1]))
        sessions = index.sessions.rows[rows]
        if self.talk.with_assistant.any():
            sign = 1 if asks_assistant(self.question) else -1
            total += sign * weights.assistant * index.of_assistant(rows)
        talk_of_people = ~(self.talk.prose | self.talk.with_assistant)[sessions]
        total += weights.question * (index.questions.rows[rows] & talk_of_people)
        return total

    def _days_asked(self) -> list[DateInterval]:
        """The days that the question names, seen from now; in a memory that ends before them, seen from its end."""
        asked = date_intervals(self.question, now=self.now)
        if not asked:
            return []
        newest = int(max(self.index.days.rows[self.population].max(), self.index.told.rows[self.population].max()))
        if all(interval.start.toordinal() > newest for interval in asked):
            asked = date_intervals(self.question, now=datetime.combine(date.fromordinal(newest), time(12)))
        return asked

    def _own_and_neighbours(self, rows: Rows) -> Floats:
        """z(lexical) and z(dense) of each row, and fractions of those of the messages around it."""
        around = Neighbourhood(self.index, rows, [offset for offset, _ in self.weights.neighbours])
        own = self._own(around.rows)
        total = own[np.searchsorted(around.rows, rows)]
        among_people, units = ~self.talk.with_assistant[self.index.sessions.rows[rows]], around.best(own)
        for offset, fraction in self.weights.neighbours:
            total += fraction * around.at(offset, units) * among_people
        return total

    def _own(self, rows: Rows) -> Floats:
        """z(lexical) and z(dense), with moments over all allowed rows, or a sample of them."""
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
        counted = self.allowed[::step] & self.index.embedded.rows[::step]
        scores = self._dense[::step] if self._dense is not None else np.einsum("ij,j->i", vectors.rows[::step], self.vector)
        return moments(scores if counted.all() else scores[counted])

    def _session_term(self, rows: Rows) -> Floats:
        index = self.index
        if len(index.named.sessions) < 2:
            return np.zeros(len(rows), np.float32)
        groups = index.sessions.rows
        nameless = tokens.query_terms(self.question, without=frozenset().union(*map(tokens.words, self.talk.participants)))
        scores = index.lexical.group_scores(nameless, groups, number=len(index.shapes))
        return self.weights.session * scaled(scores[groups[rows]], moments(scores[groups[self.population]]))


def _highest(values: Floats, count: int) -> Rows:
    """Rows of the `count` highest positive values, in no order."""
    blocks = values[: len(values) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    if len(blocks) > count:  # the best of so many blocks are at least as high: fewer rows are left to be sorted
        least = np.partition(blocks.max(axis=1), -count)[-count]
        rows = np.flatnonzero((values >= least) & (values > 0))
    else:
        rows = np.flatnonzero(values > 0)
    if len(rows) > count:
        rows = rows[np.argpartition(-values[rows], count)[:count]]
    return rows
