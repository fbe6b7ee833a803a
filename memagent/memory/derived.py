"""Memories that think ahead: what notes and drafts have in common.

`consolidate` takes the lease of this user and kind, reads the messages past the cursor in batches, asks the kind to `_distil`
each batch outside any transaction, and commits what came of it together with the new cursor. A model that fails or
answers in a wrong form raises; batches done before stand, the failed one is tried again by the next flush, and the raw
messages are in every view meanwhile.

Items of these memories are derived (`memagent.db.revisions`); ids of messages work in every verb too.
"""

from __future__ import annotations

import time
import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from memagent.db import erasure, history, leases, log, revisions
from memagent.db.revisions import Action, Revision, RevisionOrigin
from memagent.errors import StoreLocked
from memagent.memory.base import Memory, Progress, check_consolidation, checked_limit, checked_scope
from memagent.types import ConsolidationResult, HistoryEntry, Item, Receipt, Stats, Usage, WriteResult

LEASE_SECONDS = 120.0
"""A worker that did not commit a batch for so long is presumed dead."""
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
    """The item changed. None makes a new one; so does the first use of a name that begins with `NEW`, by which later proposals
    of the batch mean the same item."""
    data: Mapping[str, object] = field(default_factory=dict)
    origin: RevisionOrigin = "distilled"
    """Who says so: the user, for what was added by hand."""


@dataclass(frozen=True)
class Consolidated:
    """What one batch led to, and what it cost."""

    proposals: tuple[NoteEdit, ...]
    usage: Usage = field(default_factory=Usage)


class DerivedMemory(Memory):
    """A memory with derived items. A kind brings `_distil` and `recall`."""

    batch: ClassVar[int] = 20
    """Messages distilled at once."""

    @property
    def shelf(self) -> str:
        """The name under which derived rows are kept: the kind, unless a kind has styles that must not mix."""
        return self.kind

    @abstractmethod
    def _distil(self, messages: Sequence[log.Stored], known: Mapping[str, Revision]) -> Consolidated:
        """What these new messages change, given the items as they are. May call the model; writes nothing."""

    def consolidate(
        self, *, question: str | None = None, timeout: float = 60.0, progress: Progress | None = None
    ) -> ConsolidationResult:
        """Distil every message past the cursor. Waits up to `timeout` seconds for another process that is at it.

        Raises `StoreLocked` when that one does not finish, and what the model raises.
        """
        check_consolidation(question, timeout)
        with self._database.read() as connection:
            if log.user_id(connection, self.user) is None:
                return ConsolidationResult()
        owner = uuid.uuid4().hex
        user = self._take_lease(owner, timeout)
        done = ConsolidationResult()
        try:
            while True:
                step = self._flush_batch(user, owner)
                if step is None:
                    return done
                done = _joined(done, step)
                if progress is not None:
                    progress(step.processed)
        finally:
            with self._database.write() as connection:
                leases.release(connection, user, self.shelf, owner=owner)

    def _take_lease(self, owner: str, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while True:
            with self._database.write() as connection:
                user = self._user_row(connection)
                if leases.take(connection, user, self.shelf, owner=owner, seconds=LEASE_SECONDS):
                    return user
            if time.monotonic() > deadline:
                raise StoreLocked(f"another process distils {self.kind!r} of user {self.user!r}; call flush again later")
            time.sleep(0.05)

    def _flush_batch(self, user: int, owner: str) -> ConsolidationResult | None:
        """Distil one batch; None when there is nothing left."""
        with self._database.read() as connection:
            before = leases.position(connection, user, self.shelf)
            messages = list(log.read(connection, user, after=before, limit=self.batch))
            known = revisions.current(connection, user, self.shelf)
            seen = log.last_seq(connection, user)
        if not messages:
            return None
        distilled = self._distil(messages, known)
        with self._database.write() as connection:
            leases.take(connection, user, self.shelf, owner=owner, seconds=LEASE_SECONDS)
            if log.changed_since(connection, user, seen):
                return ConsolidationResult()  # what was distilled may hold what is gone: the batch is done anew
            leases.advance(connection, user, self.shelf, owner=owner, before=before, after=messages[-1].seq)
            places = {one.seq: one.session for one in messages}
            outcomes = self._store_all(connection, user, distilled.proposals, places)
        return ConsolidationResult(processed=len(messages), outcomes=tuple(outcomes), usage=distilled.usage)

    def _store_all(
        self, connection: log.Connection, user: int, proposals: Sequence[NoteEdit], places: Mapping[int, str]
    ) -> list[WriteResult]:
        """Write what a batch led to; `places` are the sessions of its messages, by place in the log."""
        made: dict[str, str] = {}
        outcomes: list[WriteResult] = []
        for one in proposals:
            name = next((places[seq] for seq in reversed(one.sources) if seq in places), None)
            session = 0 if name is None else log.ensure_session(connection, user, name)
            item = None if one.item is None or one.item.startswith(NEW) else one.item
            outcome = self._store(connection, user, session, replace(one, item=made.get(one.item or "", item)))
            if one.item is not None:
                made[one.item] = outcome.id
            outcomes.append(outcome)
        return outcomes

    def _store(self, connection: log.Connection, user: int, session: int, proposal: NoteEdit) -> WriteResult:
        """Write one change; `session` is a session's row, 0 for none."""
        item = revisions.append(
            connection,
            user,
            self.shelf,
            item=proposal.item,
            action=proposal.action,
            text=proposal.text,
            data=proposal.data,
            reason=proposal.reason,
            origin=proposal.origin,
            sources=proposal.sources,
            session_id=session or None,
            logged=False,
        )
        return WriteResult(id=item, action=_ACTIONS[proposal.action], reason=proposal.reason)  # type: ignore[arg-type]

    def pending_count(self) -> int:
        """Messages past the cursor."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return 0
            return sum(1 for _ in log.read(connection, user, after=leases.position(connection, user, self.shelf)))

    def _undistilled(self, connection: log.Connection, user: int, session: str | None = None) -> list[log.Stored]:
        """Messages that no derived item can show: past the cursor, edited, or restored (maybe passed while forgotten)."""
        position = leases.position(connection, user, self.shelf)
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
        """Throw away what was distilled, keep what the user wrote, and distil the whole log anew."""
        with self._database.write() as connection:
            revisions.drop_distilled(connection, self._user_row(connection), self.shelf)
        return self.consolidate(progress=progress)

    # -- items ---------------------------------------------------------------------------------------------------------

    def items(self, *, session: str | None = None, limit: int | None = None, newest_first: bool = False) -> list[Item]:
        """The derived items as they are now, in the order in which they came to be."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            found = {} if user is None else revisions.current(connection, user, self.shelf)
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
                self.shelf,
                item=id,
                action=action,
                text=text,
                data=found.data,
                reason="changed by the user",
                origin="user",
                sources=found.sources if action == "update" else (),
                session_id=None if found.session is None else log.ensure_session(connection, user, found.session),
            )
            seq = log.last_seq(connection, user)
        outcome = WriteResult(id=id, action=_ACTIONS[action])  # type: ignore[arg-type]
        return Receipt(outcomes=(outcome,), seq=seq)

    def undo(self) -> Receipt:
        """Take back the user's last `update`, `delete` or `add` that stands. Raises `NotFound` when there is none."""
        with self._database.write() as connection:
            outcome, seq = history.undo(connection, self._user_row(connection), self.shelf)
        return Receipt(outcomes=(outcome,), seq=seq)

    def history(self, id: str | None = None) -> list[HistoryEntry]:
        """Every revision of an item, or of all; for a message's id, what happened to the message."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            if id is None:
                return history.revision_changes(revisions.of_memory(connection, user, self.shelf))
            found = revisions.of_item(connection, user, self.shelf, id)
        return history.revision_changes(found) if found else super().history(id)

    def stats(self) -> Stats:
        """Sizes, with the number of derived items."""
        return super().stats().model_copy(update={"notes": len(self.items())})

    def _erase(self, connection: log.Connection, user: int, id: str) -> list[str]:
        """Erase a message, or a derived item with its history and the messages that it was drawn from."""
        found = revisions.of_item(connection, user, self.shelf, id)
        if not found:
            return super()._erase(connection, user, id)
        sources = log.read_many(connection, {seq for one in found for seq in one.sources})
        texts = erasure.messages(connection, user, list(sources.values()))
        erasure.item(connection, user, self.shelf, id)
        return [*texts, *(one.text for one in found)]

    # -- for the kinds -------------------------------------------------------------------------------------------------

    def _revision(self, connection: log.Connection, user: int, id: str) -> Revision | None:
        found = revisions.of_item(connection, user, self.shelf, id)
        return revisions.visible(found).get(id) if found else None

    def _item(self, connection: log.Connection, revision: Revision) -> Item:
        sources = log.read_many(connection, revision.sources)
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


def _joined(first: ConsolidationResult, second: ConsolidationResult) -> ConsolidationResult:
    return ConsolidationResult(
        processed=first.processed + second.processed,
        outcomes=first.outcomes + second.outcomes,
        usage=first.usage + second.usage,
    )


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _time_or_none(value: object) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))
