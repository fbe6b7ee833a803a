"""What a MemOCR memory has to show for a question, read from the store: a document, drafted lines, and messages in neither."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from memagent.db import log, revisions
from memagent.db.revisions import Revision
from memagent.forks import ForkLock
from memagent.memory.memocr import drafts
from memagent.memory.memocr.document import MemoryLine, lines_of_message, lines_of_revision

T = TypeVar("T")


@dataclass(frozen=True)
class Candidates:
    """Everything that may stand on the page."""

    lines: list[MemoryLine] = field(default_factory=list)
    draft: Revision | None = None
    """The document that a model drafted."""


class LineCache:
    """Lines of revisions: a revision never changes, so its lines are made once. Thread-safe."""

    def __init__(self) -> None:
        self._lines: dict[int, list[MemoryLine]] = {}
        self._guard = ForkLock()

    def of(self, connection: log.Connection, user: int, kept: Sequence[Revision]) -> list[MemoryLine]:
        """The lines in which there is something to see."""
        with self._guard:
            fresh = [one for one in kept if one.id not in self._lines]
            if fresh and len(self._lines) > 2 * len(kept):
                self._lines, fresh = {}, list(kept)
            behind = log.read_many(connection, user, {seq for one in fresh for seq in one.sources})
            for one in fresh:
                self._lines[one.id] = lines_of_revision(one, [behind[seq] for seq in one.sources if seq in behind])
            return [line for one in kept for line in self._lines[one.id]]

    def clear(self) -> None:
        """Drop all, as after a purge."""
        with self._guard:
            self._lines.clear()


def read_candidates(
    connection: log.Connection,
    user: int,
    namespace: str,
    cache: LineCache,
    *,
    query: str,
    raw: Sequence[log.Stored],
    session: str | None,
    exclude: Collection[str],
) -> Candidates:
    """What there is for a question in one `session` or all, but for what rests on messages of `exclude` alone.

    `raw` are messages that may be in no draft.
    """
    every = revisions.of_memory(connection, user, namespace)
    current = revisions.visible(every)
    draft = drafts.for_query(current, query)
    if draft is not None and not drafts.suits(connection, user, draft, session, exclude):
        draft = None
    held = drafts.held_by(draft)
    kept = [one for one in current.values() if not drafts.is_document(one) and not _within(one.sources, held)]
    lines = cache.of(connection, user, kept)
    # What rests in a line that the user forgot is held too: the message must not take the line's place.
    drafted = (one for one in every if one.action != "none" and not one.dead and not drafts.is_document(one))
    held = held.union(*(one.sources for one in drafted))
    lines += (line for one in raw if one.seq not in held for line in lines_of_message(one))
    seen = set(exclude)
    here = (line for line in lines if session in (None, line.session))
    return Candidates([line for line in here if not _within(line.source.messages, seen)], draft)


def _within(some: Collection[T], held: set[T]) -> bool:
    """Whether there are some, and all of them are held."""
    return bool(some) and held.issuperset(some)
