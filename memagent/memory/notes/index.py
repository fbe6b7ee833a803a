"""Notes as a reader sees them: each with the time it was said, what held before, and the messages behind it.

A notebook is made from the revisions of one user (and one session, when a reader wants no other) and kept until a revision is
written or something happens to a message: new messages change no note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from weakref import WeakKeyDictionary

from memagent.db import log, revisions
from memagent.db.revisions import Revision
from memagent.db.sqlite import Database
from memagent.forks import ForkLock
from memagent.memory.notes.validity import Past, States, by_item, states, unsupported
from memagent.memory.view import ViewLine, clean, day
from memagent.retrieval.short_texts import Text, Texts
from memagent.types import Source

_PASTS_SHOWN = 2
_NOTEBOOKS_KEPT = 32
_GUARD = ForkLock()
_SHARED: WeakKeyDictionary[Database, dict[str, NoteIndexes]] = WeakKeyDictionary()


@dataclass(frozen=True)
class IndexedNote:
    """A note."""

    revision: Revision
    said: datetime
    messages: tuple[str, ...]
    """Ids of the messages it rests on."""
    now: Text
    past: tuple[tuple[Past, Text], ...]
    """What held before, oldest first."""
    until: str | None = None
    """Set when the note no longer holds: since when."""

    def line(self, place: int, *, with_past: bool, score: float | None = None) -> ViewLine:
        """The note in a view; `place` is where it stands among the notes."""
        label, speaker = self.revision.data.get("label"), self.revision.data.get("speaker")
        said = clean(self.revision.text)
        if label is not None:
            head, shown = "- ", f"{clean(str(label))}: {said}"
        else:
            head, shown = f"[{day(self.said)}] ", f"{clean(str(speaker))}: {said}" if speaker else said
            shown = f"{_until(self.until)}: {shown}" if self.until else shown
            shown += self._before() if with_past else ""
        source = Source(
            id=self.revision.item,
            messages=self.messages,
            score=score,
            text=shown,
            speaker=None if speaker is None else str(speaker),
            time=self.said,
        )
        return ViewLine(head + shown, source, (0, place))

    def _before(self) -> str:
        told = [f"{_until(one.until)}: {clean(one.revision.text)}" for one, _ in self.past[-_PASTS_SHOWN:]]
        return f" ({'; '.join(told)})" if told else ""


@dataclass
class NoteIndex:
    """All notes, oldest first, and which messages they speak for."""

    entries: list[IndexedNote]
    settled: set[int]
    """Places in the log of messages that the user's own notes stand for."""
    covered: set[int]
    """Messages that some live revision rests on."""
    unsupported: set[int]
    """Messages whose note is gone."""

    @cached_property
    def texts(self) -> Texts:
        """Every text that is ranked: the notes as they are, then what they said before."""
        return Texts([*(one.now for one in self.entries), *(text for one in self.entries for _, text in one.past)])

    @cached_property
    def past_rows(self) -> list[int]:
        """Which note each of the texts after the notes' own belongs to."""
        return [row for row, one in enumerate(self.entries) for _ in one.past]


def notebooks_of(database: Database, namespace: str) -> NoteIndexes:
    """The notebooks of a store, shared by all memories of a process."""
    with _GUARD:
        shelves = _SHARED.setdefault(database, {})
        return shelves.setdefault(namespace, NoteIndexes(namespace))


class NoteIndexes:
    """Notebooks of one namespace of a store, by user and session. Thread-safe."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._kept: dict[tuple[int, str | None], tuple[tuple[int, int], int, NoteIndex]] = {}
        self._guard = ForkLock()

    def load(self, connection: log.Connection, user: int, session: str | None) -> NoteIndex:
        """The notebook as it is now."""
        version, last = _version(connection, user, self._namespace), log.last_seq(connection, user)
        with self._guard:
            kept = self._kept.get((user, session))
        if kept is not None and kept[0] == version and not log.changed_since(connection, user, kept[1]):
            return kept[2]
        book = _made(connection, user, self._namespace, session)
        with self._guard:
            while len(self._kept) >= _NOTEBOOKS_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[user, session] = (version, last, book)
        return book


def _version(connection: log.Connection, user: int, namespace: str) -> tuple[int, int]:
    query = "SELECT coalesce(max(id), 0), count(*) FROM revisions WHERE user_id = ? AND memory = ?"
    newest, number = connection.execute(query, (user, namespace)).fetchone()
    return int(newest), int(number)


def _made(connection: log.Connection, user: int, namespace: str, session: str | None) -> NoteIndex:
    found = revisions.of_memory(connection, user, namespace)
    stored = log.read_many(connection, user, {seq for one in found for seq in one.sources})
    if session is not None:
        found = [one for one in found if _within(one, stored, session)]
    entries = [entry for line in by_item(found).values() for entry in _entries(states(line), stored)]
    live = [one for one in found if not one.dead]
    return NoteIndex(
        entries=sorted(entries, key=lambda one: (one.said, one.revision.id)),
        settled={seq for one in live if one.origin == "user" for seq in one.sources if _added(stored.get(seq))},
        covered={seq for one in live for seq in one.sources},
        unsupported=unsupported(found),
    )


def _within(revision: Revision, stored: Mapping[int, log.Stored], session: str) -> bool:
    """Whether a revision says nothing that was said in another session."""
    places = {stored[seq].session for seq in revision.sources if seq in stored}
    return places == {session} or (not places and revision.session == session)


def _added(one: log.Stored | None) -> bool:
    return one is not None and one.origin == "added"


def _entries(found: States, stored: Mapping[int, log.Stored]) -> list[IndexedNote]:
    """A note with its past; or, when it no longer holds, what it was."""
    revision, until, past = found.current, None, found.past
    if revision is None:
        if not past:
            return []
        (revision, until), past = past[-1], past[:-1]
    messages = [stored[seq].message for seq in revision.sources if seq in stored]
    times = [one.time for one in messages if one.time is not None]
    return [
        IndexedNote(
            revision=revision,
            said=max(times) if times else revision.at,
            messages=tuple(one.id for one in messages if one.id),
            now=_text(revision),
            past=tuple((one, _text(one.revision)) for one in past),
            until=until,
        )
    ]


def _text(revision: Revision) -> Text:
    label, speaker = revision.data.get("label"), revision.data.get("speaker")
    text = f"{label}: {revision.text}" if label is not None else revision.text
    return Text.of(text, None if speaker is None else str(speaker))


def _until(time: str | None) -> str:
    return "before" if time is None else f"until {day(datetime.fromisoformat(time))}"
