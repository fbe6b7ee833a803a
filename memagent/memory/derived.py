"""Memories that think ahead: what notes and drafts have in common.

`consolidate` takes the lease of this user and kind, reads the messages past the cursor in batches, asks the kind what
each batch changes (`_consolidate`, outside any transaction), and commits the edits together with the new cursor. A model that
fails or answers in a wrong form raises; batches done before stand, the failed one is tried again next time, and the raw
messages are in every view meanwhile.

Items of these memories are derived (`memagent.db.revisions`); ids of messages work in every verb too.
"""

from __future__ import annotations

import time
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from memagent.db import erasure, history, leases, log, revisions
from memagent.db.revisions import Action, Revision, RevisionOrigin
from memagent.db.sqlite import Database
from memagent.errors import StoreLocked
from memagent.memory.arguments import check_consolidation, checked_limit, checked_scope
from memagent.memory.base import Memory, Progress
from memagent.retrieval.embedders.cached import CachedEmbedder, UserVectors
from memagent.types import ConsolidationResult, HistoryEntry, Item, Receipt, Stats, Usage, WriteResult

LEASE_SECONDS = 120.0
"""A worker that did not commit a batch for so long is presumed dead."""
VECTORS_KEPT = 20_000
"""Vectors of texts that a memory holds in mind."""
NEW = "+"
"""Begins the names by which a batch means the items that it makes."""
_ACTIONS: dict[Action, str] = {"add": "added", "update": "superseded", "delete": "removed", "none": "skipped"}


@dataclass(frozen=True)
class NoteEdit:
    """A change of a derived item that a batch of messages leads to."""

    action: Action
    text: str
    reason: str
    sources: tuple[int, ...]
    """Places in the log of the messages it rests on, those of the item's earlier text that still count included."""
    item: str | None = None
    """The item changed. None makes a new one; so does the first use of a name that begins with `NEW`, by which later edits
    of the batch mean the same item."""
    data: Mapping[str, object] = field(default_factory=dict)
    origin: RevisionOrigin = "distilled"
    """Who says so: the user, for what was added by hand."""


@dataclass(frozen=True)
class Consolidated:
    """What one batch led to, and what it cost."""

    edits: tuple[NoteEdit, ...]
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Lease:
    """The right to consolidate one kind of memory of one user."""

    database: Database
    user: int
    """The user's row."""
    namespace: str
    owner: str

    def take(self) -> bool:
        """Take it, or hold it for another `LEASE_SECONDS`; False when another process has it."""
        with self.database.write() as connection:
            return leases.take(connection, self.user, self.namespace, owner=self.owner, seconds=LEASE_SECONDS)

    def renew(self) -> None:
        """Hold it while a model thinks. Raises `StoreLocked` when another process took it over."""
        if not self.take():
            raise StoreLocked(f"another process took over consolidating {self.namespace!r}; call `consolidate` again")


class DerivedMemory(Memory):
    """A memory with derived items. A kind brings `_consolidate` and `recall`."""

    _cached: CachedEmbedder | None = None
    batch: ClassVar[int] = 20
    """Messages consolidated at once."""

    @property
    def namespace(self) -> str:
        """The name under which derived rows are kept: the kind, unless a kind has styles that must not mix."""
        return self.kind

    @abstractmethod
    def _consolidate(self, messages: Sequence[log.Stored], known: Mapping[str, Revision]) -> Consolidated:
        """What these new messages change, given the items as they are. May call the model; writes nothing."""

    def consolidate(
        self, *, question: str | None = None, timeout: float = 60.0, progress: Progress | None = None
    ) -> ConsolidationResult:
        """Consolidate every message past the cursor. Waits up to `timeout` seconds for another process that is at it.

        Raises `StoreLocked` when that one does not finish, and what the model raises.
        """
        check_consolidation(question, timeout)
        with self._database.read() as connection:
            if log.user_id(connection, self.user) is None:
                return ConsolidationResult()
        done = ConsolidationResult()
        with self._leased(timeout) as lease:
            while (step := self._consolidate_batch(lease)) is not None:
                done = joined(done, step)
                if progress is not None:
                    progress(step.processed)
        return done

    @contextmanager
    def _leased(self, timeout: float) -> Iterator[Lease]:
        """Hold the lease of this user and kind. Raises `StoreLocked` when another process has it for longer than `timeout`."""
        owner, deadline = uuid.uuid4().hex, time.monotonic() + timeout
        with self._database.read() as connection:
            lease = Lease(self._database, self._user_row(connection), self.namespace, owner)
        while not lease.take():
            if time.monotonic() > deadline:
                raise StoreLocked(
                    f"another process consolidates {self.kind!r} of user {self.user!r}; call `consolidate` again later"
                )
            time.sleep(0.05)
        try:
            yield lease
        finally:
            with self._database.write() as connection:
                leases.release(connection, lease.user, self.namespace, owner=owner)

    def _consolidate_batch(self, lease: Lease) -> ConsolidationResult | None:
        """Consolidate one batch of messages past the cursor; None when there is nothing left."""
        user = lease.user
        with self._database.read() as connection:
            before = leases.position(connection, user, self.namespace)
            messages = list(log.read(connection, user, after=before, limit=self.batch))
            known = revisions.current(connection, user, self.namespace)
            seen = log.last_seq(connection, user)
        if not messages:
            return None
        made = self._consolidate(messages, known)
        with self._database.write() as connection:
            leases.take(connection, user, self.namespace, owner=lease.owner, seconds=LEASE_SECONDS)
            if log.changed_since(connection, user, seen):
                return ConsolidationResult()  # what was made may hold what is gone: the batch is done anew
            leases.advance(connection, user, self.namespace, owner=lease.owner, before=before, after=messages[-1].seq)
            outcomes = self._write(connection, user, made.edits)
        return ConsolidationResult(processed=len(messages), outcomes=tuple(outcomes), usage=made.usage)

    def _write(self, connection: log.Connection, user: int, edits: Sequence[NoteEdit]) -> list[WriteResult]:
        """Write changes of items, each in the session of the newest message that it rests on."""
        newest = log.read_many(connection, user, {edit.sources[-1] for edit in edits if edit.sources})
        made: dict[str, str] = {}
        outcomes: list[WriteResult] = []
        for edit in edits:
            said = newest.get(edit.sources[-1]) if edit.sources else None
            item = None if edit.item is None or edit.item.startswith(NEW) else edit.item
            name = revisions.append(
                connection,
                user,
                self.namespace,
                item=made.get(edit.item or "", item),
                action=edit.action,
                text=edit.text,
                data={key: _stored_names(value, made) for key, value in edit.data.items()},
                reason=edit.reason,
                origin=edit.origin,
                sources=edit.sources,
                session_id=None if said is None else log.ensure_session(connection, user, said.session),
                logged=False,
            )
            if edit.item is not None:
                made[edit.item] = name
            outcomes.append(WriteResult(id=name, action=_ACTIONS[edit.action], reason=edit.reason))  # type: ignore[arg-type]
        return outcomes

    def pending_count(self) -> int:
        """Messages past the cursor."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return 0
            return sum(1 for _ in log.read(connection, user, after=leases.position(connection, user, self.namespace)))

    def _unconsolidated(self, connection: log.Connection, user: int, session: str | None = None) -> list[log.Stored]:
        """Messages that no derived item can show: past the cursor, edited, or restored (maybe passed while forgotten)."""
        position = leases.position(connection, user, self.namespace)
        edited = {
            str(row[0])
            for row in connection.execute(
                "SELECT item FROM events WHERE user_id = ? AND action IN ('edit', 'restore') AND memory IS NULL", (user,)
            )
        }
        if not edited:
            return list(log.read(connection, user, after=position, session=session))
        found = log.read(connection, user, session=session)
        return [one for one in found if one.seq > position or one.message.id in edited]

    def rebuild(self, *, progress: Progress | None = None) -> ConsolidationResult:
        """Throw away what was derived, keep what the user wrote, and consolidate the whole log anew."""
        with self._database.write() as connection:
            revisions.drop_distilled(connection, self._user_row(connection), self.namespace)
        return self.consolidate(progress=progress)

    # -- items ---------------------------------------------------------------------------------------------------------

    def items(self, *, session: str | None = None, limit: int | None = None, newest_first: bool = False) -> list[Item]:
        """The derived items as they are now, in the order in which they came to be."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            found = {} if user is None else revisions.current(connection, user, self.namespace)
            shown = [one for one in found.values() if checked_scope(session) in (None, one.session)]
            shown = shown[::-1] if newest_first else shown
            return [self._item(connection, one) for one in shown[: checked_limit(limit)]]

    def get(self, id: str) -> Item:
        """One derived item, or one message. Raises `NotFound`."""
        with self._database.read() as connection:
            found = self._revision(connection, self._user_row(connection), id)
            if found is not None:
                return self._item(connection, found)
        return super().get(id)

    def update(self, id: str, text: str) -> Receipt:
        """Give an item another text. Raises `NotFound`."""
        return self._change(id, "update", text) or super().update(id, text)

    def delete(self, id: str) -> Receipt:
        """Hide an item. Forgetting a derived item leaves its messages; forgetting a message hides what rests on it."""
        return self._change(id, "delete", "") or super().delete(id)

    def _change(self, id: str, action: Action, text: str) -> Receipt | None:
        """The user's own change of a derived item; None when `id` is not one."""
        log.check_text(text)
        with self._database.write() as connection:
            user = self._user_row(connection)
            found = self._revision(connection, user, id)
            if found is None:
                return None
            revisions.append(
                connection,
                user,
                self.namespace,
                item=found.item,
                action=action,
                text=text,
                data=found.data,
                reason="changed by the user",
                origin="user",
                sources=found.sources if action == "update" else (),
                session_id=None if found.session is None else log.ensure_session(connection, user, found.session),
            )
            seq = log.last_seq(connection, user)
        outcome = WriteResult(id=found.item, action=_ACTIONS[action])  # type: ignore[arg-type]
        return Receipt(outcomes=(outcome,), seq=seq)

    def undo(self) -> Receipt:
        """Take back the user's last `update`, `delete` or `add` that stands. Raises `NotFound` when there is none."""
        with self._database.write() as connection:
            outcome, seq = history.undo(connection, self._user_row(connection), self.namespace)
        return Receipt(outcomes=(outcome,), seq=seq)

    def history(self, id: str | None = None) -> list[HistoryEntry]:
        """Every revision of an item, or of all; for a message's id, what happened to the message."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            if id is None:
                return history.revision_changes(revisions.of_memory(connection, user, self.namespace))
            found = revisions.of_item(connection, user, self.namespace, id)
        return history.revision_changes(found) if found else super().history(id)

    def stats(self) -> Stats:
        """Sizes, with the number of derived items."""
        return super().stats().model_copy(update={"notes": len(self.items())})

    def _erase(self, connection: log.Connection, user: int, id: str) -> list[str]:
        """Erase a message, or a derived item with its history and the messages that it was drawn from."""
        found = revisions.of_item(connection, user, self.namespace, id)
        if not found:
            return super()._erase(connection, user, id)
        sources = log.read_many(connection, user, {seq for one in found for seq in one.sources})
        texts = erasure.messages(connection, user, list(sources.values()))
        erasure.item(connection, user, self.namespace, found[0].item)
        return [*texts, *(one.text for one in found)]

    def _embedder(self) -> CachedEmbedder | None:
        """The store's embedder with this user's stored vectors before it; None without one."""
        inner = self._backend.embedder()
        if inner is None:
            return None
        if self._cached is None or self._cached.inner is not inner:
            stored = UserVectors(self._database, self.user)
            self._cached = CachedEmbedder(inner, max_texts=VECTORS_KEPT, stored=stored)
        return self._cached

    # -- for the kinds -------------------------------------------------------------------------------------------------

    def _revision(self, connection: log.Connection, user: int, id: str) -> Revision | None:
        found = revisions.of_item(connection, user, self.namespace, id)
        return revisions.visible(found).get(found[0].item) if found else None

    def _item(self, connection: log.Connection, revision: Revision) -> Item:
        sources = log.read_many(connection, self._user_row(connection), revision.sources)
        data = revision.data
        return Item(
            id=revision.item,
            text=revision.text,
            kind="note",
            speaker=_text_or_none(data.get("speaker")),
            session=revision.session,
            time=revision.at,
            origin=revision.origin,
            label=_text_or_none(data.get("label")),
            tier=_text_or_none(data.get("tier")),
            valid_from=_time_or_none(data.get("valid_from")),
            valid_to=_time_or_none(data.get("valid_to")),
            sources=tuple(one.message.id or "" for one in sources.values()),
        )


def _stored_names(value: object, made: Mapping[str, str]) -> object:
    """A value of an edit's data; in a list of items, those made in the batch by the ids under which they were stored."""
    return [made.get(one, one) for one in value] if isinstance(value, list) else value


def joined(first: ConsolidationResult, second: ConsolidationResult) -> ConsolidationResult:
    return ConsolidationResult(
        processed=first.processed + second.processed,
        outcomes=first.outcomes + second.outcomes,
        usage=first.usage + second.usage,
    )


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _time_or_none(value: object) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))
