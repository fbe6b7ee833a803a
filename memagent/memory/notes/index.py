"""Notes as a reader sees them: each with the time it was last told, what held before, and the messages behind it.

A notebook is made from the revisions of one user (and one session, when a reader wants no other) and kept until a revision is
written, the cursor moves, or something happens to a message: new messages change no note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from weakref import WeakKeyDictionary

from memagent.db import leases, log, revisions
from memagent.db.revisions import Revision
from memagent.db.sqlite import Database
from memagent.forks import ForkLock
from memagent.memory.notes.chronology import Moment, Told, moments, told
from memagent.memory.notes.validity import Past, by_item, corrected, states, unsupported
from memagent.memory.view import ViewLine, clean, day
from memagent.retrieval.short_texts import Text, Texts
from memagent.text.facts import asides, facts
from memagent.types import Source, TextPart

_NOTEBOOKS_KEPT = 32
_GUARD = ForkLock()
_SHARED: WeakKeyDictionary[Database, dict[str, NoteIndexes]] = WeakKeyDictionary()


@dataclass(frozen=True)
class IndexedNote:
    """A note."""

    revision: Revision
    said: datetime
    """When it was last told."""
    told: frozenset[int]
    """Places in the log of the messages that tell it, repetitions included."""
    messages: tuple[str, ...]
    """Ids of the messages it rests on."""
    now: Text
    past: tuple[tuple[Past, Text], ...]
    """What held before, oldest first."""
    until: str | None = None
    """Set when the note no longer holds: since when."""
    corrects: frozenset[str] = frozenset()
    """Ids of notes that it may correct."""

    def line(self, order: tuple[int, int], *, pasts: int, score: float | None = None) -> ViewLine:
        """The note in a view, with the newest `pasts` of what held before; `order` is where it stands there."""
        label, speaker = self.revision.data.get("label"), self.revision.data.get("speaker")
        said = clean(self.revision.text)
        if label is not None:
            head, shown = "- ", f"{clean(str(label))}: {said}"
        else:
            head, shown = f"[{day(self.said)}] ", f"{clean(str(speaker))}: {said}" if speaker else said
            shown = f"{_until(self.until)}: {shown}" if self.until else shown
            shown += self._before(pasts)
        source = Source(
            id=self.revision.item,
            messages=self.messages,
            score=score,
            text=shown,
            speaker=None if speaker is None else str(speaker),
            time=self.said,
            seq=max(self.told, default=0),
        )
        return ViewLine(head + shown, source, order, shortened=pasts < len(self.past))

    def _before(self, pasts: int) -> str:
        told = [f"{_until(one.until)}: {clean(one.revision.text)}" for one, _ in self.past[max(0, len(self.past) - pasts) :]]
        return f" ({'; '.join(told)})" if told else ""


@dataclass
class NoteIndex:
    """All notes, in the order in which they were told, and which messages they speak for."""

    entries: list[IndexedNote]
    covered: set[int]
    """Places in the log of messages that some note speaks for."""
    unnoted: list[int]
    """Consolidated messages that tell something and for which none does, oldest first."""
    asides: list[int]
    """The other consolidated messages without a note: questions, pleasantries, what the assistant said."""
    rests: list[log.Stored]
    """Messages with notes, oldest first, with nothing but what these leave out: asides and pictures."""
    told: dict[int, Told]
    """Times of the messages behind notes."""

    @cached_property
    def texts(self) -> Texts:
        """Every text that is ranked: the notes as they are, then what they said before."""
        return Texts([*(one.now for one in self.entries), *(text for one in self.entries for _, text in one.past)])

    @cached_property
    def past_rows(self) -> list[int]:
        """Which note each of the texts after the notes' own belongs to."""
        return [row for row, one in enumerate(self.entries) for _ in one.past]

    @cached_property
    def newest_correction(self) -> dict[int, int]:
        """For rows of notes that later ones may correct, directly or by way of another, the row of the last told of these."""
        rows = {one.revision.item: row for row, one in enumerate(self.entries)}
        newest: dict[int, int] = {}
        for row in range(len(self.entries) - 1, -1, -1):
            for item in self.entries[row].corrects:
                older = rows.get(item, row)
                if older < row and self.entries[row].until is None:
                    newest[older] = max(newest.get(older, row), newest.get(row, row))
        return newest


def notebooks_of(database: Database, namespace: str) -> NoteIndexes:
    """The notebooks of a store, shared by all memories of a process."""
    with _GUARD:
        shelves = _SHARED.setdefault(database, {})
        return shelves.setdefault(namespace, NoteIndexes(namespace))


class NoteIndexes:
    """Notebooks of one namespace of a store, by user and session. Thread-safe."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._kept: dict[tuple[int, str | None], tuple[tuple[int, int, int], int, NoteIndex]] = {}
        self._guard = ForkLock()

    def load(self, connection: log.Connection, user: int, session: str | None) -> NoteIndex:
        """The notebook as it is now."""
        position = leases.position(connection, user, self._namespace)
        version, last = (*_version(connection, user, self._namespace), position), log.last_seq(connection, user)
        with self._guard:
            kept = self._kept.get((user, session))
        if kept is not None and kept[0] == version and not log.changed_since(connection, user, kept[1]):
            return kept[2]
        book = _made(connection, user, self._namespace, session, position)
        with self._guard:
            while len(self._kept) >= _NOTEBOOKS_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[user, session] = (version, last, book)
        return book


def _version(connection: log.Connection, user: int, namespace: str) -> tuple[int, int]:
    query = "SELECT coalesce(max(id), 0), count(*) FROM revisions WHERE user_id = ? AND memory = ?"
    newest, number = connection.execute(query, (user, namespace)).fetchone()
    return int(newest), int(number)


def _made(connection: log.Connection, user: int, namespace: str, session: str | None, position: int) -> NoteIndex:
    found = revisions.of_memory(connection, user, namespace)
    stored = log.read_many(connection, user, {seq for one in found for seq in one.sources})
    times = told(connection, stored.values())
    if session is not None:
        found = [one for one in found if _within(one, stored, session)]
    order = moments(times)
    entries = [entry for line in by_item(found).values() if (entry := _entry(line, stored, order)) is not None]
    covered = {seq for one in found if not one.dead for seq in one.sources} - unsupported(found)
    left = {seq: role for seq, role in _alive(connection, user, session, position) if seq not in covered}
    said = log.read_many(connection, user, (seq for seq, role in left.items() if role == "user"))
    telling = {one.seq for one in said.values() if tells(one)}
    return NoteIndex(
        entries=sorted(entries, key=lambda one: (latest(one, order), one.revision.id)),
        covered=covered,
        unnoted=[seq for seq in left if seq in telling],
        asides=[seq for seq in left if seq not in telling],
        rests=_rests([stored[seq] for seq in sorted(covered) if seq in stored], found),
        told=times,
    )


def _rests(messages: Iterable[log.Stored], found: Iterable[Revision]) -> list[log.Stored]:
    """What is left of messages beside their notes. A note that is a message whole, as `remember` makes them, leaves nothing."""
    whole = {(seq, one.text) for one in found for seq in one.sources}
    rests: list[log.Stored] = []
    for one in messages:
        text, pictures = one.message.text.strip(), one.message.images
        left = [] if (one.seq, text) in whole else asides(text)
        if one.alive and (left or pictures):
            content = (*pictures, TextPart(text="\n".join(left)))
            rests.append(replace(one, message=one.message.model_copy(update={"content": content})))
    return rests


def tells(stored: log.Stored) -> bool:
    """Whether the user tells something in a message, rather than asks, or keeps the talk going."""
    return stored.message.role == "user" and bool(facts(stored.message.text.strip()))


def latest(note: IndexedNote, order: Mapping[int, Moment]) -> Moment:
    """When a note was last told."""
    return max((order[seq] for seq in note.told), default=(note.revision.at.timestamp(), 0))


def _alive(connection: log.Connection, user: int, session: str | None, position: int) -> list[tuple[int, str]]:
    query = "SELECT seq, role FROM messages WHERE user_id = ? AND alive = 1 AND seq <= ?"
    values: tuple[object, ...] = (user, position)
    if session is not None:
        query, values = f"{query} AND session_id IN (SELECT id FROM sessions WHERE name = ?)", (*values, session)
    return connection.execute(f"{query} ORDER BY seq", values).fetchall()


def _within(revision: Revision, stored: Mapping[int, log.Stored], session: str) -> bool:
    """Whether a revision says nothing that was said in another session."""
    places = {stored[seq].session for seq in revision.sources if seq in stored}
    return places == {session} or (not places and revision.session == session)


def _entry(line: Sequence[Revision], stored: Mapping[int, log.Stored], order: Mapping[int, Moment]) -> IndexedNote | None:
    """A note with its past; or, when it no longer holds, what it was."""
    found = states(line)
    revision, until, past = found.current, None, found.past
    if revision is None:
        if not past:
            return None
        (revision, until), past = past[-1], past[:-1]
    live = [one for one in line if not one.dead]
    again = (seq for one in live if one.action == "none" and one.id > revision.id for seq in one.sources)
    seqs = [seq for seq in (*revision.sources, *again) if seq in stored]
    newest = max(seqs, key=order.__getitem__, default=None)
    time = None if newest is None else stored[newest].message.time
    messages = [stored[seq].message.id for seq in revision.sources if seq in stored]
    return IndexedNote(
        revision=revision,
        said=time or revision.at,
        told=frozenset(seqs),
        messages=tuple(one for one in messages if one),
        now=_text(revision),
        past=tuple((one, _text(one.revision)) for one in past),
        until=until,
        corrects=frozenset(item for one in live for item in corrected(one.data)),
    )


def _text(revision: Revision) -> Text:
    label, speaker = revision.data.get("label"), revision.data.get("speaker")
    text = f"{label}: {revision.text}" if label is not None else revision.text
    return Text.of(text, None if speaker is None else str(speaker))


def _until(time: str | None) -> str:
    return "before" if time is None else f"until {day(datetime.fromisoformat(time))}"
