"""Where a new fact belongs among the notes: a working copy of the notes, changed fact by fact, and the changes as edits.

Without a model a fact repeats a note, completes it, takes its place, or is new (`attributes` compares them). Names of notes are
ids throughout, never positions in a list; a note made within a batch has a provisional one, "+1", until it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from memagent.db.revisions import Action, Revision
from memagent.memory.derived import NEW, NoteEdit
from memagent.memory.notes.validity import state_of
from memagent.text import attributes
from memagent.text.attributes import Statement


@dataclass(frozen=True)
class Fact:
    """Something told, and by which message."""

    text: str
    seq: int
    """The message's place in the log."""
    time: datetime
    speaker: str | None = None
    """Who says it, in a dialogue of several; None for the user."""


@dataclass(frozen=True)
class NoteState:
    """A note as the working copy has it."""

    text: str
    sources: tuple[int, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)

    @property
    def speaker(self) -> object:
        """Who it is about, in a dialogue of several."""
        return self.data.get("speaker")


class NoteSet:
    """The notes, and what a batch of messages changes in them."""

    def __init__(self, known: Mapping[str, Revision]) -> None:
        self.notes = {item: NoteState(one.text, one.sources, one.data) for item, one in known.items()}
        self.edits: list[NoteEdit] = []
        self._states = {item: state_of(one) for item, one in known.items()}
        self._made = 0

    def add(self, text: str, facts: Sequence[Fact], reason: str, **data: object) -> str:
        """Make a note. Returns its provisional id."""
        self._made += 1
        item = f"{NEW}{self._made}"
        whole = {"valid_from": _latest(facts), "state": 0, **data}
        if facts[0].speaker:
            whole["speaker"] = facts[0].speaker
        self._states[item] = 0
        self._edit("add", item, NoteState(text, _places(facts), whole), reason)
        return item

    def revise(self, item: str, text: str, facts: Sequence[Fact], reason: str, *, ended: bool, keep: bool) -> None:
        """Give a note another text. With `ended`, what it said before stopped being true when the facts were told.

        With `keep` the new text rests on the messages of the old one too: something of it may be in the new one.
        """
        old = self.notes[item]
        data = dict(old.data)
        if ended:
            data |= {"state": self._states[item] + 1, "valid_from": _latest(facts)}
            self._states[item] += 1
        sources = tuple(dict.fromkeys((*(old.sources if keep else ()), *_places(facts))))
        self._edit("update", item, NoteState(text, sources, data), reason)

    def close(self, item: str, facts: Sequence[Fact], reason: str) -> None:
        """A note no longer holds and nothing takes its place."""
        data = {"valid_to": _latest(facts)}
        self.edits.append(NoteEdit("delete", "", reason, _places(facts), item=item, data=data))
        del self.notes[item]

    def repeat(self, item: str, facts: Iterable[Fact], reason: str) -> None:
        """A note was told again: only its history keeps that."""
        for one in facts:
            self.edits.append(NoteEdit("none", one.text, reason, (one.seq,), item=item))

    def _edit(self, action: Action, item: str, held: NoteState, reason: str) -> None:
        self.notes[item] = held
        self.edits.append(NoteEdit(action, held.text, reason, held.sources, item=item, data=held.data))


def consolidate(batch: NoteSet, fact: Fact, *, near: Iterable[str] = ()) -> None:
    """Put a fact among the notes without a model. `near` are notes that mean about the same by their vectors."""
    fact = replace(fact, text=" ".join(fact.text.split()))
    new = attributes.meaning(fact.text)
    rivals = {item: attributes.meaning(held.text) for item, held in batch.notes.items() if held.speaker == fact.speaker}
    for item, old in rivals.items():
        if attributes.repeats(new, old):
            return batch.repeat(item, [fact], "said again")
    for item, old in rivals.items():
        if attributes.changes(new, old) and not _older(fact, batch.notes[item]):
            return batch.revise(item, fact.text, [fact], "another value", ended=True, keep=False)
    for item, old in rivals.items():
        if attributes.completes(new, old):
            return batch.revise(item, fact.text, [fact], "said in more detail", ended=False, keep=False)
    for item in near:
        if item in rivals and _agree(new, rivals[item]):
            return batch.repeat(item, [fact], "said again in other words")
    batch.add(fact.text, [fact], "stated")
    return None


def _agree(new: Statement, old: Statement) -> bool:
    """Whether two sentences of about the same meaning differ in nothing that counts."""
    names = (new.marked - old.content) | (old.marked - new.content)
    return attributes.compatible(new, old) and not names and bool(new.content & old.content)


def _latest(facts: Sequence[Fact]) -> str:
    return max(one.time for one in facts).isoformat()


def _places(facts: Sequence[Fact]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(one.seq for one in facts))


def _older(fact: Fact, note: NoteState) -> bool:
    """Whether a fact was told before the note's state began, as when old conversations are imported later."""
    since = note.data.get("valid_from")
    return isinstance(since, str) and fact.time < datetime.fromisoformat(since)
