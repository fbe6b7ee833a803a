"""The view of notes: what is shown for a question, in which order, within a budget.

While everything fits, everything is shown and nothing is ranked. Otherwise notes and passages of messages that are not
distilled yet are ranked together (`memagent.retrieval.short_texts`) and packed best first. The view has the notes first, then
the messages, each oldest first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from memagent.db import leases, log
from memagent.memory.notes.index import IndexedNote, NoteIndex
from memagent.memory.view import ViewLine, line_of, pack, text_recall
from memagent.retrieval.embedders.cached import CachedEmbedder
from memagent.retrieval.short_texts import Text, Texts, fused, lexical_scores
from memagent.retrieval.zscores import Floats
from memagent.text.sentences import spans
from memagent.types import Recall
from memagent_renderers.budget import Budget

if TYPE_CHECKING:
    from memagent.memory.backend import Backend

_LEAST_TOKENS = 6
"""Hardly a line costs fewer: bounds how many can fit."""
RANKED_HERE = 256
"""Passages of new messages that are ranked beside the notes; of more, a search finds the ones to rank."""
_CLOSED = -2.0
"""Added to the score of a note that no longer holds, unless the question asks about the past."""
_ASKS_PAST = re.compile(
    r"\b(was|were|did|had|before|used to|previous\w*|former\w*|earlier|once|until|ago|past|old|first|histor\w+|change[ds]?|"
    r"originally|last (?:year|month|week)|(?:19|20)\d\d)\b",
    re.IGNORECASE,
)


class Passage(NamedTuple):
    """A part of a message."""

    stored: log.Stored
    start: int
    stop: int

    @property
    def text(self) -> Text:
        """As it is ranked."""
        return Text.of(self.stored.message.text[self.start : self.stop], self.stored.message.speaker)

    def line(self, score: float | None = None) -> ViewLine:
        """As it is shown."""
        return line_of(self.stored, start=self.start, stop=self.stop, score=score)


@dataclass(frozen=True)
class NoteQuery:
    """Everything that a view may show."""

    user: int
    book: NoteIndex
    entries: Sequence[tuple[int, IndexedNote]]
    """Notes of the book with their place in it, without those that rest on excluded messages only."""
    raw: Sequence[log.Stored]
    """The newest messages that no note speaks for, newest first."""
    total: int
    """How many of them there are."""
    position: int
    """Place in the log up to which messages are distilled."""
    session: str | None
    exclude: frozenset[str]

    @classmethod
    def empty(cls) -> NoteQuery:
        """Of a user who never said anything."""
        return cls(0, NoteIndex([], set(), set(), set()), (), (), 0, 0, None, frozenset())

    @classmethod
    def read(
        cls,
        connection: log.Connection,
        user: int,
        namespace: str,
        book: NoteIndex,
        *,
        session: str | None,
        exclude: Collection[str],
    ) -> NoteQuery:
        """From the store, as it is now."""
        hidden = frozenset(exclude)
        position = leases.position(connection, user, namespace)
        newest = log.read(connection, user, after=position, session=session, newest_first=True, limit=RANKED_HERE + 1)
        lost = _speaking_again(connection, user, book, position)
        again = [one for one in log.read_many(connection, user, lost).values() if one.alive and session in (None, one.session)]
        found = sorted([*newest, *again], key=lambda one: -one.seq)
        raw = [one for one in found if one.seq not in book.settled and one.message.id not in hidden]
        notes = enumerate(book.entries)
        entries = [(row, one) for row, one in notes if not (one.messages and hidden.issuperset(one.messages))]
        total = len(raw) if len(found) - len(again) <= RANKED_HERE else _unread(connection, user, position, session)
        return cls(user, book, entries, raw, total, position, session, hidden)

    def shows(self, stored: log.Stored) -> bool:
        """Whether a message may be shown beside the notes."""
        new = stored.seq > self.position and stored.seq not in self.book.settled
        return new and stored.message.id not in self.exclude


def _speaking_again(connection: log.Connection, user: int, book: NoteIndex, position: int) -> set[int]:
    """Distilled messages that no note shows: their note is gone, or they were edited, or restored after a flush passed them."""
    query = (
        "SELECT m.seq FROM messages m WHERE m.user_id = ? AND m.seq <= ? AND m.id IN"
        " (SELECT item FROM events WHERE user_id = ? AND action IN ('edit', 'restore') AND memory IS NULL)"
    )
    edited = {int(row[0]) for row in connection.execute(query, (user, position, user))}
    return {seq for seq in book.unsupported if seq <= position} | (edited - book.covered)


def _unread(connection: log.Connection, user: int, position: int, session: str | None) -> int:
    query = (
        "SELECT count(*) FROM messages m JOIN sessions s ON s.id = m.session_id"
        " WHERE m.user_id = ? AND m.alive = 1 AND m.seq > ?"
    )
    values: tuple[object, ...] = (user, position)
    if session is not None:
        query, values = f"{query} AND s.name = ?", (*values, session)
    return int(connection.execute(query, values).fetchone()[0])


class NotesView:
    """Answers one question from a scene."""

    def __init__(self, backend: Backend, user: str, embedder: Callable[[], CachedEmbedder | None], scene: NoteQuery) -> None:
        self._backend = backend
        self._user = user
        self._embedder = embedder
        self._scene = scene

    def recall(self, query: str, budget: Budget) -> Recall:
        """What fits of what answers best."""
        scene, limit = self._scene, budget.tokens // _LEAST_TOKENS + 1
        chosen = self._everything(budget, limit)
        if chosen is None:
            ranked = self._ranked(query, limit) if query.strip() else self._newest()
            chosen = pack(islice(ranked, limit), budget)
        shown = {line.source.id for line in chosen}
        dropped = max(0, sum(one.until is None for _, one in scene.entries) + scene.total - len(shown))
        return text_recall(chosen, budget, kind="notes", dropped=dropped)

    def _everything(self, budget: Budget, limit: int) -> list[ViewLine] | None:
        """All lines if they fit, with what held before if that fits too; None if they do not."""
        scene = self._scene
        if len(scene.entries) + scene.total > limit or scene.total > len(scene.raw):
            return None
        raw = [line_of(one) for one in scene.raw]
        for with_past in (True, False):
            kept = [(row, one) for row, one in scene.entries if with_past or one.until is None]
            notes = [one.line(row, with_past=with_past) for row, one in kept]
            chosen = pack([*notes, *raw], budget)
            if len(chosen) == len(notes) + len(raw) and not any(line.shortened for line in chosen):
                return chosen
        return None

    def _newest(self) -> Iterable[ViewLine]:
        """Without a question: new messages, then notes, the newest first."""
        yield from (line_of(one) for one in self._scene.raw)
        yield from (one.line(row, with_past=False) for row, one in reversed(self._scene.entries) if one.until is None)

    def _ranked(self, query: str, limit: int) -> Iterable[ViewLine]:
        entries, passages = self._scene.book.entries, self._passages(query, limit)
        past_asked = _ASKS_PAST.search(query) is not None
        now, before, raw = self._scores(query, Texts([one.text for one in passages]))
        best = np.full(len(entries), -np.inf, np.float32)
        for row, one in self._scene.entries:
            best[row] = np.fmax(now[row], before[row]) + (0.0 if past_asked or one.until is None else _CLOSED)
        both = np.concatenate([best, raw])
        for row in map(int, np.argsort(-both, kind="stable")):
            score = round(float(both[row]), 4)
            if row >= len(entries):
                yield passages[row - len(entries)].line(score)
            elif score > -np.inf:
                shows_past = past_asked or bool(before[row] > now[row])
                yield entries[row].line(row, with_past=shows_past, score=score)

    def matching(self, query: str, *, least: float) -> list[tuple[IndexedNote, float]]:
        """The notes that hold and share a word or, by their vectors, the meaning of a query; best first."""
        book = self._scene.book
        if not self._scene.entries or not query.strip():
            return []
        lexical, dense = lexical_scores(query, book.texts), self._dense(query, book.texts)
        shown = lexical > 0 if dense is None else (lexical > 0) | (dense >= least)
        scores = fused(lexical, dense, np.zeros_like(lexical))
        found = [(one, float(scores[row])) for row, one in self._scene.entries if shown[row] and one.until is None]
        return sorted(found, key=lambda one: -one[1])

    def _scores(self, query: str, passages: Texts) -> tuple[Floats, Floats, Floats]:
        """Scores of the notes as they are, of the best of what each said before (NaN for nothing), and of the passages."""
        book = self._scene.book
        number, pasts = len(book.entries), book.past_rows
        ages = np.array([*range(number), *pasts, *range(number + len(passages), number, -1)]) / max(number + len(passages), 1)
        lexical, dense = lexical_scores(query, book.texts, passages), self._dense(query, book.texts, passages)
        scores = fused(lexical, dense, ages.astype(np.float32))
        before = np.full(number, np.nan, np.float32)
        np.fmax.at(before, pasts, scores[number : number + len(pasts)])
        return scores[:number], before, scores[number + len(pasts) :]

    def _dense(self, query: str, *groups: Texts) -> Floats | None:
        """Cosines, NaN where a text has no vector; None without an embedder."""
        embedder = self._embedder()
        if embedder is None:
            return None
        vector = embedder.embed([query], role="query")[0]
        found: Floats = np.concatenate([group.vectors(embedder) @ vector for group in groups])
        return found

    def _passages(self, query: str, limit: int) -> list[Passage]:
        """Passages of new messages to rank, newest first: all of them, or when they are many those that a search finds too."""
        scene = self._scene
        found = list(islice((Passage(one, *span) for one in scene.raw for span in spans(one.message.text)), RANKED_HERE + 1))
        if len(found) <= RANKED_HERE and scene.total <= len(scene.raw):
            return found
        wanted = max(limit, RANKED_HERE)
        hits = self._backend.searcher(self._user).passages(query, limit=wanted, session=scene.session).hits or ()
        near = [Passage(hit.stored, hit.start, hit.stop) for hit in hits if scene.shows(hit.stored)]
        kept = {(one.stored.seq, one.start): one for one in [*found[: RANKED_HERE // 4], *near]}
        return sorted(kept.values(), key=lambda one: (-one.stored.seq, one.start))
