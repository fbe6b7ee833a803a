"""What was true when: the states of a note, out of its revisions.

A revision's data says in which state of the world it describes the note (`state`, counted from 0) and since when that holds
(`valid_from`). A revision that completes or corrects a note keeps the state; one by which the old text stops being true
begins the next. So the past needs no copy of old texts: a past state is the last live revision of it, and it ended when the
next one began. Forgetting or purging a message takes its states out of the past as well, and `undo` works by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from memagent.db.revisions import Revision

CORRECTS = "corrects"
"""Key of a revision's data: ids of notes that its item, told later, may correct. They hold all the same."""


class Past(NamedTuple):
    """A state that no longer holds."""

    revision: Revision
    until: str | None
    """ISO time at which it stopped holding; None where that is not known."""


class States(NamedTuple):
    """A note as it is and as it was."""

    current: Revision | None
    """None when the note no longer holds, or was deleted."""
    past: tuple[Past, ...]
    """Oldest first; empty when a user deleted the note."""


def by_item(revisions: Iterable[Revision]) -> dict[str, list[Revision]]:
    """Revisions by item, oldest first."""
    found: dict[str, list[Revision]] = {}
    for revision in revisions:
        found.setdefault(revision.item, []).append(revision)
    return found


def state_of(revision: Revision) -> int:
    """Which state of the note a revision describes."""
    value = revision.data.get("state", 0)
    return value if isinstance(value, int) else 0


def corrected(data: Mapping[str, object]) -> tuple[str, ...]:
    """The notes that a revision may correct."""
    named = data.get(CORRECTS)
    return tuple(map(str, named)) if isinstance(named, list) else ()


def states(revisions: Sequence[Revision]) -> States:
    """The states of one item, from its revisions, oldest first."""
    stack: list[Revision] = []
    gone, ended = False, None
    for one in revisions:
        if one.dead or one.action == "none":
            continue
        if one.action == "delete":
            ended = _text(one.data.get("valid_to")) if one.origin == "distilled" else None
            gone = ended is None
            continue
        gone, ended = False, None
        while stack and state_of(stack[-1]) >= state_of(one):
            stack.pop()
        stack.append(one)
    if gone or not stack:
        return States(None, ())
    began = [_text(one.data.get("valid_from")) for one in stack[1:]]
    if ended is not None:
        return States(None, tuple(map(Past, stack, [*began, ended])))
    return States(stack[-1], tuple(map(Past, stack[:-1], began)))


def unsupported(revisions: Iterable[Revision]) -> set[int]:
    """Places in the log of messages that lost the note in which they were told.

    When a message is forgotten, notes that rest on it fall back to an earlier revision; other messages behind them, which
    only repeated or completed what is gone, have to speak for themselves again.
    """
    found: set[int] = set()
    for line in by_item(revisions).values():
        shown = max((one.id for one in line if one.action != "none" and not one.dead), default=0)
        newer = [one for one in line if one.id > shown]
        if not shown or any(one.dead for one in newer):
            found.update(seq for one in newer for seq in one.sources)
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)
