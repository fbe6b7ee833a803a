"""The view of notes: what is shown for a question, in which order, within a budget.

Shown are the notes, and as they are the messages for which no note speaks: new ones, and those in which nobody found a fact.
While everything fits, everything is shown and nothing is ranked. Otherwise notes and passages of messages that tell something
are ranked together (`memagent.retrieval.short_texts`) and packed best first, a note that a later one may correct behind the
last of these; then come questions, pleasantries and what the assistant said, the newest first, those beside notes in the same
message too. The view has what was told last on top: of two notes that contradict each other the newer one is read first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from memagent.db import leases, log
from memagent.memory.notes.chronology import Moment, moments, told
from memagent.memory.notes.index import IndexedNote, NoteIndex, latest, tells
from memagent.memory.view import ViewLine, line_of, pack, shown_whole, text_recall
from memagent.retrieval.embedders.cached import CachedEmbedder
from memagent.retrieval.short_texts import Text, Texts, fused, lexical_scores
from memagent.retrieval.zscores import Floats
from memagent.text.dates import date_intervals, nearness_of_texts
from memagent.text.sentences import spans
from memagent.types import Recall, now
from memagent_renderers.budget import Budget

if TYPE_CHECKING:
    from memagent.memory.backend import Backend

_PASTS_SHOWN = 2
"""Of a note, where not everything fits but the question asks about the past."""
_LEAST_TOKENS = 6
"""Hardly a line costs fewer: bounds how many can fit."""
RANKED_HERE = 256
"""Passages of new messages that are ranked beside the notes; of more, a search finds the ones to rank."""
_CLOSED = -2.0
"""Added to the score of a note that no longer holds, unless the question asks about the past."""
_NEARNESS = 8.0
"""Added to the score of what tells of the very days that a question names; other scores are deviations."""
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


@dataclass(frozen=True)
class NoteQuery:
    """Everything that a view may show."""

    user: int
    book: NoteIndex
    entries: Sequence[tuple[int, IndexedNote]]
    """Notes of the book with their place in it, without those that rest on excluded messages only."""
    raw: Sequence[log.Stored]
    """The newest messages that tell something and that no note speaks for, newest first."""
    asides: Sequence[log.Stored]
    """The newest of the other messages without a note, and of what notes leave out of theirs, newest first."""
    more: int
    """How many of both there are besides."""
    position: int
    """Place in the log up to which messages are consolidated."""
    session: str | None
    exclude: frozenset[str]
    order: Mapping[int, Moment]
    """When the messages behind notes, and those of `raw`, were told."""

    @classmethod
    def empty(cls) -> NoteQuery:
        """Of a user who never said anything."""
        return cls(0, NoteIndex([], set(), [], [], [], {}), (), (), (), 0, 0, None, frozenset(), {})

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
        newest = list(log.read(connection, user, after=position, session=session, newest_first=True, limit=RANKED_HERE + 1))
        passed = [*book.unnoted[-RANKED_HERE - 1 :], *book.asides[-RANKED_HERE - 1 :]]
        found = [*newest, *log.read_many(connection, user, passed).values()]
        order = moments({**book.told, **told(connection, found)})
        rests = book.rests[-RANKED_HERE - 1 :]
        left = len(book.unnoted) + len(book.asides) + len(book.rests) - len(passed) - len(rests)
        if len(newest) > RANKED_HERE:
            left += _unread(connection, user, position, session) - len(newest)
        shown = [one for one in found if one.seq not in book.covered]
        telling = [one for one in shown if tells(one)]
        asides = [*rests, *(one for one in shown if not tells(one))]
        notes = enumerate(book.entries)

        def newest_first(messages: Iterable[log.Stored]) -> list[log.Stored]:
            kept = (one for one in messages if one.message.id not in hidden)
            return sorted(kept, key=lambda one: order[one.seq], reverse=True)

        return cls(
            user=user,
            book=book,
            entries=[(row, one) for row, one in notes if not (one.messages and hidden.issuperset(one.messages))],
            raw=newest_first(telling),
            asides=newest_first(asides),
            more=left,
            position=position,
            session=session,
            exclude=hidden,
            order=order,
        )

    def shows(self, stored: log.Stored) -> bool:
        """Whether a message may be shown beside the notes."""
        unnoted = stored.seq > self.position or stored.seq in self.book.unnoted
        return unnoted and stored.seq not in self.book.covered and stored.message.id not in self.exclude


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
        self._parts: dict[tuple[int, ...], tuple[int, int]] = {}
        """Of lines with a part of a message, by their order: how many characters it has, and the message."""
        self._told = [latest(one, scene.order) for one in scene.book.entries]
        newest_first = sorted({*self._told, *scene.order.values()}, reverse=True)
        self._rank = {moment: rank for rank, moment in enumerate(newest_first)}

    def recall(self, query: str, budget: Budget) -> Recall:
        """What fits of what answers best."""
        scene, limit = self._scene, budget.tokens // _LEAST_TOKENS + 1
        chosen = self._everything(budget, limit)
        if chosen is None:
            ranked = self._ranked(query, limit) if query.strip() else self._newest()
            chosen = pack(islice(ranked, limit), budget)
        shown = shown_whole(chosen, self._parts)
        everything = len(scene.entries) + len(scene.raw) + len(scene.asides) + scene.more
        return text_recall(chosen, budget, kind="notes", dropped=max(0, everything - len(shown)))

    def _everything(self, budget: Budget, limit: int) -> list[ViewLine] | None:
        """All lines if they fit, with what held before if that fits too; None if they do not."""
        scene = self._scene
        raw = [self._message(one) for one in (*scene.raw, *scene.asides)]
        if scene.more or len(scene.entries) + len(raw) > limit:
            return None
        for pasts in (sys.maxsize, 0):
            kept = [row for row, one in scene.entries if pasts or one.until is None]
            lines = [*(self._note(row, pasts=pasts) for row in kept), *raw]
            if pack(lines, budget) == lines:
                return lines
        return None

    def _note(self, row: int, *, pasts: int, score: float | None = None) -> ViewLine:
        note = self._scene.book.entries[row]
        return note.line((self._rank[self._told[row]], note.revision.id), pasts=pasts, score=score)

    def _message(self, stored: log.Stored, start: int = 0, stop: int | None = None, score: float | None = None) -> ViewLine:
        line = line_of(stored, start=start, stop=stop, score=score)
        order = (self._rank.get(self._scene.order.get(stored.seq, (0.0, 0)), len(self._rank)), start)
        if stop is not None:
            self._parts[order] = (stop - start, len(stored.message.text))
        return replace(line, order=order)

    def _newest(self) -> Iterable[ViewLine]:
        """Without a question: the newest first, what tells nothing last."""
        telling = map(self._message, self._scene.raw)
        notes = [self._note(row, pasts=0) for row, one in self._scene.entries if one.until is None]
        yield from sorted([*telling, *notes], key=lambda line: line.order)
        yield from map(self._message, self._scene.asides)

    def _ranked(self, query: str, limit: int) -> Iterable[ViewLine]:
        entries, passages = self._scene.book.entries, self._passages(query, limit)
        past_asked = _ASKS_PAST.search(query) is not None
        current, before, raw = self._scores(query, Texts([one.text for one in passages]))
        best = np.full(len(entries), -np.inf, np.float32)
        for row, one in self._scene.entries:
            best[row] = np.fmax(current[row], before[row]) + (0.0 if past_asked or one.until is None else _CLOSED)
        both, given = np.concatenate([best, raw]) + self._near(query, passages), set[int]()
        for place in map(int, np.argsort(-both, kind="stable")):
            score = round(float(both[place]), 4)
            if place >= len(entries):
                passage = passages[place - len(entries)]
                yield self._message(passage.stored, passage.start, passage.stop, score)
            elif score > -np.inf:
                correction = self._scene.book.newest_correction.get(place, place)
                for row in dict.fromkeys((correction, place)):
                    if row not in given and best[row] > -np.inf:
                        given.add(row)
                        with_past = past_asked or bool(before[row] > current[row])
                        yield self._note(row, pasts=_PASTS_SHOWN * with_past, score=score)
        yield from map(self._message, self._scene.asides)

    def _near(self, query: str, passages: Sequence[Passage]) -> Floats | float:
        """What notes and passages get for telling of the days that a question names."""
        asked = date_intervals(query, now=now())
        if not asked:
            return 0.0
        notes = [(one.revision.text, one.said) for one in self._scene.book.entries]
        said = [(one.text.key, one.stored.message.time) for one in passages]
        return np.float32(_NEARNESS) * nearness_of_texts(asked, [*notes, *said])

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
        """Passages to rank, newest first: of all messages that tell something, or when these are many of those that a search
        finds too.
        """
        scene = self._scene
        found = list(islice((Passage(one, *span) for one in scene.raw for span in spans(one.message.text)), RANKED_HERE + 1))
        if len(found) <= RANKED_HERE:
            return found
        wanted = max(limit, RANKED_HERE)
        hits = self._backend.searcher(self._user).passages(query, limit=wanted, session=scene.session).hits or ()
        near = [Passage(hit.stored, hit.start, hit.stop) for hit in hits if scene.shows(hit.stored) and tells(hit.stored)]
        kept = {(one.stored.seq, one.start): one for one in [*found[: RANKED_HERE // 4], *near]}
        return sorted(kept.values(), key=lambda one: (-one.stored.seq, one.start))
