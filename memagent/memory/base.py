"""`Memory`: one user's memory, of one kind, over a shared `Store`.

All kinds write the same event log, so that a conversation had with one can be recalled by another. A kind differs in how
it makes a view of that log for a question (`recall`) and in what it derives from it ahead of time (`consolidate`). A new kind
of memory needs `recall` and a `kind`; everything else is here.

`add` is durable when it returns and calls no model. `recall` sees every message that any process has committed, calls
no chat model, and never costs more than its budget. Nothing crosses users.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, get_args

from memagent.db import erasure, history, log, merge, snapshots, transfer
from memagent.errors import InputError, NotFound
from memagent.memory.arguments import (
    check_search,
    checked_ids,
    checked_limit,
    checked_name,
    checked_path,
    checked_query,
    checked_scope,
    checked_text,
)
from memagent.memory.backend import HasBackend
from memagent.memory.view import ViewLine, message_line, pack, text_recall
from memagent.messages import Messages, as_messages
from memagent.models.base import ChatModel
from memagent.models.registry import load_model
from memagent.retrieval.embedders.base import Embedder
from memagent.types import (
    BYTE_ORDER_MARK,
    AuditFinding,
    ConsolidationResult,
    HistoryEntry,
    Item,
    Message,
    Recall,
    Receipt,
    SearchResult,
    Stats,
    WriteResult,
)
from memagent_renderers.budget import ESTIMATE, Budget

Progress = Callable[[int], None]
"""Called with the number of units of work just done."""


class Memory(ABC):
    """The contract of every kind of memory. `session` is where this object writes; reading spans all sessions."""

    kind: ClassVar[str]
    draws: ClassVar[bool] = False
    """Whether its views are pictures; a model that cannot see then reads them by OCR."""
    default_budget: ClassVar[int] = 1024
    """Tokens of a view when nobody names a budget."""

    def __init__(
        self,
        store: HasBackend,
        *,
        user: str = "default",
        session: str = "default",
        model: ChatModel | str | None = None,
    ) -> None:
        self.user = checked_name("user", user)
        self.session = checked_name("session", session)
        self._backend = store.backend
        self._database = store.backend.database
        self.unfinished = store.backend.unfinished
        """Answers that write here and are still coming; the store ends them before it closes."""
        if model is not None and not isinstance(model, str | ChatModel):
            raise InputError(f"model is a ChatModel, the name of one, or None to do without, not {model!r}")
        self._owns_model = isinstance(model, str)
        self.model = load_model(model) if isinstance(model, str) else model
        """Model that writes notes and drafts; None: they are made without one."""

    # -- writing -------------------------------------------------------------------------------------------------------

    def add(self, messages: Messages, *, session: str | None = None, origin: log.Origin = "said") -> Receipt:
        """Write messages to the log, in one transaction: durable when this returns. Calls no model.

        Takes a string (said by the user), a `Message`, an OpenAI-style dict (`role`, `content` as text or as a list of parts),
        or a list of these. A message whose id is stored already is skipped; with `origin="imported"` it is merged, as by
        `import_file`. Raises `InputError` for what cannot be stored, and a `StoreError`; then nothing was written.
        """
        batch = as_messages(messages)
        if origin not in get_args(log.Origin):
            raise InputError(f"origin is {', '.join(get_args(log.Origin))}, not {origin!r}")
        place = self.session if session is None else checked_name("session", session)
        for message in batch:
            log.encode(message)
        with self._database.write() as connection:
            user = log.ensure_user(connection, self.user)
            row = log.ensure_session(connection, user, place)
            if origin == "imported":
                appended = merge.append(connection, user, row, batch)
            else:
                appended = log.append(connection, user, row, batch, origin=origin)
            seq = log.last_seq(connection, user)
        return Receipt(outcomes=tuple(map(_written, appended)), seq=seq)

    def remember(self, text: str, *, session: str | None = None) -> Receipt:
        """Write one fact that the user states to the memory itself. Raises `InputError` for an empty text."""
        fact = Message(role="user", content=checked_text("a fact", text))
        return self.add(fact, session=session, origin="added")

    def update(self, id: str, text: str) -> Receipt:
        """Give an item another text; the old one stays in its history. Raises `NotFound`."""
        log.check_text(text)
        with self._database.write() as connection:
            user, stored = self._message(connection, id)
            id = str(stored.message.id)
            said = text.removeprefix(BYTE_ORDER_MARK)
            seq = log.set_content(connection, user, id, log.put_content(connection, "text", said))
        return Receipt(outcomes=(WriteResult(id=id, action="superseded"),), seq=seq)

    def delete(self, id: str) -> Receipt:
        """Hide an item from every view at once. `undo` brings it back. Raises `NotFound`."""
        with self._database.write() as connection:
            user, stored = self._message(connection, id)
            id = str(stored.message.id)
            if not stored.alive:
                return Receipt(outcomes=(WriteResult(id=id, action="skipped", reason="already deleted"),), seq=stored.seq)
            seq = log.set_alive(connection, user, id, False)
        return Receipt(outcomes=(WriteResult(id=id, action="removed"),), seq=seq)

    def undo(self) -> Receipt:
        """Take back the user's last `update`, `delete` or `remember` that still counts. Raises `NotFound` if there is none."""
        with self._database.write() as connection:
            user = self._user_row(connection)
            outcome, seq = history.undo(connection, user, self.kind)
        return Receipt(outcomes=(outcome,), seq=seq)

    def purge(self, id: str | None = None, *, everything: bool = False) -> Receipt:
        """Erase an item, or with `everything=True` this user, from every file of the store. There is no undo.

        Raises `InputError` unless exactly one of the two is named, `NotFound`, and a `StoreError` while another process keeps
        bytes alive: purge again then; whoever opens the store next finishes it too.
        """
        if (id is None) != everything:
            raise InputError("purge takes an item's id, or everything=True to erase the user; not both, not neither")

        def erase(connection: log.Connection) -> tuple[int, list[str] | None]:
            user = self._user_row(connection)
            if id is not None:
                texts = self._erase(connection, user, id)
                return log.last_seq(connection, user), texts
            erasure.user(connection, user)
            return 0, None

        name = self.user if id is None else str(id)  # what is no text is found to be no id by `erase`
        seq = self._backend.purge(self.user, [name], erase)
        return Receipt(outcomes=(WriteResult(id=name, action="removed"),), seq=seq)

    # -- reading -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """A view of this memory for a question, of at most `budget` tokens.

        `session` narrows it to one session; `exclude` names messages that the reader sees anyway. Raises `BudgetError`
        for a budget that no view can meet.
        """

    def items(self, *, session: str | None = None, limit: int | None = None, newest_first: bool = False) -> list[Item]:
        """What this memory holds, in the order in which it was written; at most `limit` items, 0 or more, None for all.

        Raises `InputError` for another limit.
        """
        most = checked_limit(limit)
        place = checked_scope(session)
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            stored = log.read(
                connection,
                user,
                session=place,
                newest_first=newest_first,
                limit=most,
            )
            return [_item(one) for one in stored]

    def messages(self, *, session: str | None = None, limit: int | None = None, exclude: Collection[str] = ()) -> list[Message]:
        """The newest messages of the log, oldest first, whole with their pictures.

        At most `limit` of them, 0 or more, None for all; those with the ids in `exclude` are left out and not counted. Raises
        `InputError` for another limit.
        """
        most, place, left_out = checked_limit(limit), checked_scope(session), checked_ids(exclude)
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            wanted = None if most is None else most + len(left_out)
            found = log.read(connection, user, session=place, newest_first=True, limit=wanted)
            return [one.message for one in found if one.message.id not in left_out][:most][::-1]

    def get(self, id: str) -> Item:
        """One item. Raises `NotFound`, also for a deleted one."""
        with self._database.read() as connection:
            _, stored = self._message(connection, id)
        if not stored.alive:
            raise NotFound(f"item {id!r} is deleted; `undo` brings back the last one deleted")
        return _item(stored)

    def search(self, query: str, *, limit: int = 10, session: str | None = None) -> list[SearchResult]:
        """The messages that answer a query best, best first, each once; at most `limit`, 0 or more.

        Scores are comparable within one search only. Raises `InputError` for another limit.
        """
        check_search(query, limit, session)
        hits = self._backend.searcher(self.user).search(query, limit=limit, session=session)
        return [SearchResult(item=_item(hit.stored), score=hit.score) for hit in hits]

    def history(self, id: str | None = None) -> list[HistoryEntry]:
        """What happened to one item, or to all of them, oldest first. Raises `NotFound` for an unknown id."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            if id is not None:
                id = log.find(connection, user, id).message.id
            return history.changes(connection, user, id)

    def audit(self) -> list[AuditFinding]:
        """Items worth a look: repeated, empty, very long, or phrased as an instruction to a model."""
        from memagent.memory.audit import findings

        return findings(self.items())

    def stats(self) -> Stats:
        """Sizes of this memory."""
        with self._database.read() as connection:
            counts = history.counts(connection, self.user)
        return Stats(kind=self.kind, user=self.user, pending=self.pending_count(), embedder=self._backend.embedder_id, **counts)

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of its store, loaded on first use (seconds, for some); None where texts are found by words only."""
        return self._backend.embedder()

    # -- deriving ------------------------------------------------------------------------------------------------------

    def consolidate(
        self, *, question: str | None = None, timeout: float = 60.0, progress: Progress | None = None
    ) -> ConsolidationResult:
        """Do ahead of time what would make a later `recall` slow. Here: embed what has no vector yet.

        Kinds that derive something prepare for `question` if there is one. Raises `InputError`, `StoreLocked` when another
        process is at it for longer than `timeout` seconds, and what the kind's model raises.
        """
        embedded = self._backend.searcher(self.user).embed(progress=progress)
        return ConsolidationResult(processed=embedded)

    def pending_count(self) -> int:
        """Units of work that `consolidate` has yet to do."""
        return self._backend.searcher(self.user).missing()

    # -- moving --------------------------------------------------------------------------------------------------------

    def export_file(self, path: str | Path) -> int:
        """Write everything live to a JSONL file (0600) for reading or for `import_file`. Returns the number of lines."""
        return transfer.export(self._database, self.user, checked_path("file", path))

    def import_file(self, path: str | Path, *, progress: Progress | None = None) -> Receipt:
        """Read an export, of this store or another, into this user's memory, in one transaction; reading it again adds nothing.

        What was deleted here since comes back, what was edited here keeps its newer text, what was edited there gets that
        text. Raises `InputError` naming the line; then nothing was read.
        """
        batches = transfer.read_export(checked_path("file", path))
        for session, _ in batches:
            checked_name("session", session)
        appended: list[log.Appended] = []
        with self._database.write() as connection:
            user = log.ensure_user(connection, self.user)
            for session, batch in batches:
                appended += merge.append(connection, user, log.ensure_session(connection, user, session), batch)
                if progress is not None:
                    progress(len(batch))
            seq = log.last_seq(connection, user)
        return Receipt(outcomes=tuple(map(_written, appended)), seq=seq)

    def snapshot(self, path: str | Path) -> Path:
        """Save the whole state of this user, deleted items and notes included, to one file (0600)."""
        return snapshots.snapshot(self._database, self.user, checked_path("file", path))

    def restore(self, path: str | Path) -> None:
        """Put this user back into the state of a snapshot. What was there is replaced, in one transaction.

        Raises `InputError` for a file that is no whole snapshot; then nothing is changed.
        """
        snapshots.restore(self._database, self.user, checked_path("file", path))

    def close(self) -> None:
        """Close the model if it was loaded by its name; the store stays open. Safe to call twice."""
        if self._owns_model and self.model is not None:
            self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- for the kinds -------------------------------------------------------------------------------------------------

    def view(
        self, lines: Iterable[Message | ViewLine], budget: int | Budget | None = None, *, dropped: int | None = None
    ) -> Recall:
        """The text view that the first of `lines` make, as many as the budget holds, best first; shown in the log's order.

        For `recall` of a kind of one's own: `lines` are messages of this memory, or lines made otherwise. `dropped` is how many
        live items the view leaves out, if the lines are not all of them. Raises `BudgetError`.
        """
        allowed = self._budget(budget)
        ranked = list(lines)
        ids = [line.id for line in ranked if isinstance(line, Message) and line.id is not None]
        with self._database.read() as connection:
            places = log.places(connection, log.user_id(connection, self.user) or 0, ids)
        made = [message_line(line, places.get(line.id or "", 0)) if isinstance(line, Message) else line for line in ranked]
        chosen = pack(made, allowed)
        left = len(ranked) - len(chosen) if dropped is None else dropped
        return text_recall(chosen, allowed, kind=self.kind, dropped=left)

    def _asked(self, query: str, budget: int | Budget | None, session: str | None, exclude: Collection[str]) -> Budget:
        """Check what a recall was asked. Returns the budget, with a reader."""
        checked_query(query)
        checked_scope(session)
        checked_ids(exclude)
        return self._budget(budget)

    def _budget(self, budget: int | Budget | None) -> Budget:
        if isinstance(budget, Budget):
            return budget
        return Budget(self.default_budget if budget is None else budget, ESTIMATE)

    def _user_row(self, connection: log.Connection) -> int:
        user = log.user_id(connection, self.user)
        if user is None:
            raise NotFound(f"nothing was ever stored for user {self.user!r}")
        return user

    def _message(self, connection: log.Connection, id: str) -> tuple[int, log.Stored]:
        user = self._user_row(connection)
        return user, log.find(connection, user, id)

    def _erase(self, connection: log.Connection, user: int, id: str) -> list[str]:
        """Erase an item inside a transaction. Returns the texts that are gone."""
        return erasure.messages(connection, user, [log.find(connection, user, id)])


def _written(one: log.Appended) -> WriteResult:
    return WriteResult(id=one.id, action=one.action, reason="this message is stored already" if one.action == "skipped" else "")


def _item(stored: log.Stored) -> Item:
    message = stored.message
    assert message.id is not None
    assert message.time is not None
    return Item(
        id=message.id,
        text=message.text,
        kind="message",
        role=message.role,
        speaker=message.speaker,
        session=stored.session,
        time=message.time,
        origin=stored.origin,
        sources=(message.id,),
    )
