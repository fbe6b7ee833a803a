"""Search for one user: the index, the embedder, and one question at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memagent.db import log
from memagent.db.sqlite import Database
from memagent.retrieval import scoring
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.index import UserIndex
from memagent.text.tokens import query_terms
from memagent.types import now

EMBED_AT_RECALL = 256
"""Most passages that a search embeds before it answers; older ones without a vector are found by their words."""
STORED_AT_ONCE = 1_024
"""Vectors written to the store in one transaction."""


class Hit(NamedTuple):
    """A passage that answers a question."""

    stored: log.Stored
    start: int
    stop: int
    score: float
    may_correct: bool
    """Whether it may correct what was said before, and not only add to it."""

    @property
    def text(self) -> str:
        """The passage itself."""
        return self.stored.message.text[self.start : self.stop]


class Later(NamedTuple):
    """What may correct a passage: what the same voice said after it and may correct what was said before."""

    alike: list[Hit]
    """What shares a word with what the passage is about, the likest first; only what the search knew that found the passage."""
    next: list[Hit]
    """What was said right after it, in its order, up to the last of it that may correct something."""


class Ranking(NamedTuple):
    """The answer of a search."""

    live: int
    """Messages that are not forgotten."""
    hits: list[Hit] | None
    """Best first; None when nothing was ranked."""


class Searcher:
    """Thread-safe; one is shared by all memories of a user in a process."""

    def __init__(self, database: Database, index: UserIndex, embedder: Callable[[], Embedder | None]) -> None:
        self._database = database
        self.index = index
        self._embedder = embedder

    def passages(
        self,
        question: str,
        *,
        limit: int,
        session: str | None = None,
        mode: scoring.Mode = "fused",
        unless_fewer: int = -1,
        messages: bool = False,
    ) -> Ranking:
        """The best passages, with `messages` one of each message.

        They are not ranked when there are at most `unless_fewer` messages: show them all.
        """
        index = self.index
        with index.lock:
            index.catch_up()
            live = index.live_messages(session)
            if live <= max(unless_fewer, 0):
                return Ranking(live, None)
            embedder = self._embedder() if mode != "lexical" else None  # before a transaction: it may write a header
            with self._database.read() as connection:
                asked = None
                if embedder is not None:
                    index.embed_missing(limit=EMBED_AT_RECALL)
                    asked = scoring.embedded(embedder, question, index.talk().participants if mode == "fused" else ())
                ranked = scoring.rank(
                    index, question, asked=asked, limit=limit, now=now(), session=session, mode=mode, messages=messages
                )
                return Ranking(live, self._hits(connection, [ranked])[0])

    def corrections(
        self, of: Sequence[Hit], about: Callable[[Hit], str], *, limit: int, reach: int, session: str | None = None
    ) -> list[Later]:
        """For each of some passages what the same voice said after it that may correct it: `limit` alike, and the next `reach`.

        Whether it does correct one is for the caller to see.
        """
        index = self.index
        with index.lock:
            flagged, allowed = index.correcting_rows.rows, index.allowed(session)
            valid = index.corrections.rows[flagged] & allowed[flagged]
            later = [valid & self._said_after(hit, flagged) for hit in of]
            ranked = [self._alike(about(hit), places)[:limit] for hit, places in zip(of, later, strict=True)]
            ranked += [self._next(hit, flagged[places], reach, allowed) for hit, places in zip(of, later, strict=True)]
            if not any(ranked):
                return [Later([], []) for _ in of]
            with self._database.read() as connection:
                hits = self._hits(connection, ranked)
            return [Later(*both) for both in zip(hits[: len(of)], hits[len(of) :], strict=True)]

    def _said_after(self, hit: Hit, rows: scoring.Rows) -> NDArray[np.bool_]:
        """1 = the voice of a hit said this row after it."""
        index = self.index
        same: NDArray[np.bool_] = index.voices.rows[rows] == index.voice(hit.stored.message)
        return same & (index.seqs.rows[rows] > hit.stored.seq)

    def _alike(self, about: str, among: NDArray[np.bool_]) -> list[scoring.Ranked]:
        """Those of the rows that may correct something, 1 = counts, which share a word with a text; the likest first."""
        if not among.any():
            return []
        scores = self.index.correcting.scores(query_terms(about), of=self.index.lexical)
        places = np.flatnonzero((scores > 0) & among)
        rows, scores = self.index.correcting_rows.rows[places], scores[places]
        best = np.lexsort((-rows, -scores))
        return [scoring.Ranked(int(rows[i]), float(scores[i])) for i in best.tolist()]

    def _next(self, hit: Hit, flagged: scoring.Rows, reach: int, allowed: NDArray[np.bool_]) -> list[scoring.Ranked]:
        """The `reach` rows that the voice of a hit said next, up to the last of them that is flagged."""
        index, seqs = self.index, self.index.seqs.rows
        if not len(flagged):
            return []
        newest = np.sort(seqs[flagged])[:reach][-1]  # nothing beyond can be the last flagged one of so few
        rows = np.flatnonzero((seqs > hit.stored.seq) & (seqs <= newest))
        rows = rows[self._said_after(hit, rows) & allowed[rows]]
        rows = rows[np.lexsort((rows, seqs[rows]))[:reach]]
        last = int(np.flatnonzero(index.corrections.rows[rows]).max(initial=-1))
        return [scoring.Ranked(row, 0.0) for row in rows[: last + 1].tolist()]

    def _hits(self, connection: sqlite3.Connection, groups: Sequence[Sequence[scoring.Ranked]]) -> list[list[Hit]]:
        """The passages in the rows of each group; not of messages that another process has purged a moment ago."""
        index = self.index
        units = {row: index.unit(row) for group in groups for row, _ in group}
        stored = log.read_many(connection, index.row_id or 0, {unit.seq for unit in units.values()})

        def hit(row: int, score: float) -> Hit:
            seq, start, stop = units[row]
            return Hit(stored[seq], start, stop, score, bool(index.corrections.rows[row]))

        return [[hit(row, score) for row, score in group if units[row].seq in stored] for group in groups]

    def search(self, question: str, *, limit: int, session: str | None = None, mode: scoring.Mode = "fused") -> list[Hit]:
        """The best messages, each once, with its best passage."""
        return self.passages(question, limit=limit, session=session, mode=mode, messages=True).hits or []

    def holds_documents(self, session: str | None = None) -> bool:
        """Whether what there is, in all sessions or in one, is documents rather than talk (`memagent.retrieval.index`)."""
        with self.index.lock:
            self.index.catch_up()
            prose = self.index.talk().prose[self.index.sessions.rows[self.index.allowed(session)]]
            return bool(len(prose)) and bool(prose.all())

    def embed(self, *, progress: Callable[[int], None] | None = None) -> int:
        """Embed every passage that has no vector. Returns how many."""
        with self.index.lock:
            self.index.catch_up()
            self.index.missing()  # takes what other processes have embedded
            total = 0
            while done := self.index.embed_missing(limit=STORED_AT_ONCE, states=True, progress=progress):
                total += done
                self.index.store_vectors()
            self.index.store_vectors()
            self.index.save_snapshot()
            return total

    def missing(self) -> int:
        """Passages that no vector was computed for; 0 without an embedder."""
        with self.index.lock:
            self.index.catch_up()
            return self.index.missing()
