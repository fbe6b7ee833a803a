"""Where a new fact belongs among the notes: a working copy of the notes, changed fact by fact, and the changes as edits.

Without a model (`consolidate`) a fact repeats a note, completes it, ends it, or is a note of its own, by the rules of
`memagent.text.attributes`. In doubt both stay: a note ends only when the opposite, or another value of something one has only
one of, is said plainly and in earnest, and the note says nothing else. A fact that may correct a note, though nobody can be
sure, is a note that names those it may correct (`CORRECTS`); a view shows it before them.

Names of notes are ids throughout, never positions in a list; a note made within a batch has a provisional one, "+1", until it
is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from memagent.db.revisions import Action, Revision
from memagent.memory.derived import NEW, NoteEdit
from memagent.memory.notes.validity import CORRECTS, corrected, state_of
from memagent.text import attributes
from memagent.text.amendments import REACH, amended
from memagent.text.attributes import Statement

MOST_CORRECTED = 3
"""Notes that one fact may correct."""


@dataclass(frozen=True)
class Fact:
    """Something told, and by which message."""

    text: str
    seq: int
    """The message's place in the log."""
    time: datetime
    speaker: str | None = None
    """Who says it, in a dialogue of several; None for the user."""
    in_earnest: bool = True
    """Whether the message says what is so; False where something is quoted, supposed or said by others."""
    recalled: bool = False
    """Whether it was said at another time than it was written to the log, as in an old conversation that is imported. Then it
    holds from the time it was said; all else holds in the order of the log, whatever the clock says."""


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

    def revise(
        self, item: str, text: str, facts: Sequence[Fact], reason: str, *, ended: bool, keep: bool, **more: object
    ) -> None:
        """Give a note another text. With `ended`, what it said before stopped being true when the facts were told.

        With `keep` the new text rests on the messages of the old one too: something of it may be in the new one.
        """
        old = self.notes[item]
        data = {**old.data, **more}
        if ended:
            data |= {"state": self._states[item] + 1, "valid_from": _latest(facts)}
            self._states[item] += 1
        sources = tuple(dict.fromkeys((*(old.sources if keep else ()), *_places(facts))))
        self._edit("update", item, NoteState(text, sources, data), reason)

    def close(self, item: str, facts: Sequence[Fact], reason: str, *, until: str | None = None) -> None:
        """A note no longer holds and nothing takes its place. `until` is an ISO time; None: when the facts were told."""
        data = {"valid_to": until or _latest(facts)}
        self.edits.append(NoteEdit("delete", "", reason, _places(facts), item=item, data=data))
        del self.notes[item]

    def repeat(self, item: str, facts: Iterable[Fact], reason: str, **data: object) -> None:
        """A note was told again: its history keeps that, and a view counts it as told then."""
        for one in facts:
            self.edits.append(NoteEdit("none", one.text, reason, (one.seq,), item=item, data=data))

    def corrects(self, newer: str, older: Iterable[str]) -> None:
        """A note may correct others; only its history keeps that."""
        self.edits.append(NoteEdit("none", "", "may correct an earlier note", (), item=newer, data={CORRECTS: list(older)}))

    def _edit(self, action: Action, item: str, held: NoteState, reason: str) -> None:
        self.notes[item] = held
        self.edits.append(NoteEdit(action, held.text, reason, held.sources, item=item, data=held.data))


def consolidate(batch: NoteSet, fact: Fact) -> None:
    """Put a fact among the notes without a model."""
    new = attributes.meaning(fact.text)
    rivals = {item: attributes.meaning(held.text) for item, held in batch.notes.items() if held.speaker == fact.speaker}
    older = {item: old for item, old in rivals.items() if not told_before(fact, batch.notes[item])}
    for item, old in rivals.items():
        if attributes.repeats(new, old):
            again = [other for other, held in batch.notes.items() if item in corrected(held.data)]
            return batch.repeat(item, [fact], "said again", **({CORRECTS: again} if again and item in older else {}))
    if fact.in_earnest:
        ended = [item for item, old in older.items() if attributes.replaces(new, old)]
        if ended:
            left = {item: old for item, old in older.items() if item not in ended}
            linked = _corrects(batch, fact.text, left)
            batch.revise(ended[-1], fact.text, [fact], "another value", ended=True, keep=False, **linked)
            for item in ended[:-1]:
                batch.close(item, [fact], "another value")
            return None
        for item, old in rivals.items():
            if item not in older and attributes.replaces(old, new):
                past = batch.add(fact.text, [fact], "stated")
                return batch.close(past, [fact], "another value later", until=str(batch.notes[item].data["valid_from"]))
        for item, old in older.items():
            if attributes.completes(new, old):
                return batch.revise(item, fact.text, [fact], "said in more detail", ended=False, keep=False)
    made = batch.add(fact.text, [fact], "stated", **_corrects(batch, fact.text, older))
    for item, old in rivals.items():
        if item not in older and attributes.corrects(old, new) > 1:
            batch.corrects(item, [made])
    return None


def told_before(fact: Fact, note: NoteState) -> bool:
    """Whether a fact was told before the note's state began, as when old conversations are imported later."""
    since = note.data.get("valid_from")
    return fact.recalled and isinstance(since, str) and fact.time < datetime.fromisoformat(since)


def _corrects(batch: NoteSet, text: str, older: Mapping[str, Statement]) -> dict[str, object]:
    """Data of a new note: the notes that it may correct, the likeliest first and of equals the newest."""
    new = attributes.meaning(text)
    weights = {item: weight for item, old in older.items() if (weight := attributes.corrects(new, old))}
    if not weights and older:
        told = sorted(older, key=lambda item: max(batch.notes[item].sources, default=0))[-REACH:]
        place = amended(text, [batch.notes[item].text for item in told])
        if place is None and new.changed and new.leaning:
            place = len(told) - 1
        weights = {} if place is None else {told[place]: 1.0}
    likely = [item for item in reversed(weights) if 2 * weights[item] >= max(weights.values())]
    likely.sort(key=lambda item: -weights[item])
    return {CORRECTS: likely[:MOST_CORRECTED]} if likely else {}


def _latest(facts: Sequence[Fact]) -> str:
    return max(one.time for one in facts).isoformat()


def _places(facts: Sequence[Fact]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(one.seq for one in facts))
