"""Agentic notes: facts about the user, added, completed, replaced and taken back as the conversation goes on.

In the style "facts" (AMemGym's AWE) notes are short texts. With a model, facts are extracted from new messages and compared
with the notes nearest to them (`memagent.memory.notes.writer`); without one, sentences that state something are placed among
the notes by `memagent.memory.notes.consolidation`. In the style "key_value" (AWI) a note is a label with a value. Every change
keeps its reason and what was true before, with its time (`memagent.memory.notes.validity`).

A view shows the notes that answer the question, and messages that are not consolidated yet beside them, so that nothing said is
out of sight while `consolidate` has not run. What one says about oneself counts: messages of the assistant are context only.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, get_args

from memagent.db import log, revisions
from memagent.db.revisions import Revision
from memagent.errors import InputError
from memagent.memory.arguments import check_search, checked_limit, checked_name, checked_scope, checked_text
from memagent.memory.backend import HasBackend
from memagent.memory.base import Progress
from memagent.memory.derived import Consolidated, DerivedMemory
from memagent.memory.notes import chronology, consolidation, key_value
from memagent.memory.notes.consolidation import Fact, NoteSet
from memagent.memory.notes.index import NoteIndex, notebooks_of
from memagent.memory.notes.prompts import Conversation, NotePrompts
from memagent.memory.notes.validity import states
from memagent.memory.notes.view import NoteQuery, NotesView
from memagent.memory.notes.writer import NEIGHBOURS, NoteWriter
from memagent.models.base import ChatModel
from memagent.models.structured import UsageCounter
from memagent.retrieval.short_texts import nearest
from memagent.text import attributes
from memagent.text.facts import FACT_CHARACTERS, facts
from memagent.types import ConsolidationResult, Item, Message, Recall, Receipt, SearchResult, Usage, WriteResult, now
from memagent_renderers.budget import Budget

logger = logging.getLogger(__name__)
_WARNED: set[str] = set()
"""Names of models that were found too small, so that it is said once."""
Style = Literal["facts", "key_value"]

MOST_FACTS = 200
"""Facts taken from one message without a model; a document that tells more stays in the view as it is."""
ALIKE = 0.35
"""Cosine from which a search shows a note that shares no word with the query."""


class NotesMemory(DerivedMemory):
    """Notes about the user. `style` is "facts" (texts) or "key_value" (labels with values); the two are kept apart.

    `prompts` is what a model is asked. Without a model, facts are found and compared by rules (`memagent.text.facts`,
    `memagent.text.attributes`). So they are with a `small` model, which makes up notes, unless `prompts` are given for it.
    """

    kind: ClassVar[str] = "notes"

    def __init__(
        self, store: HasBackend, *, style: Style = "facts", prompts: NotePrompts | None = None, **options: Any
    ) -> None:
        super().__init__(store, **options)
        if style not in get_args(Style):
            raise InputError(f"notes come in the styles {' and '.join(map(repr, get_args(Style)))}, not {style!r}")
        self.style: Style = style
        self.prompts = prompts
        self.writer = None if self.model is None else self._writer(self.model)
        """Who writes notes; None when rules do."""
        self._books = notebooks_of(self._database, self.namespace)

    def _writer(self, model: ChatModel) -> NoteWriter | None:
        if not model.small or self.prompts is not None:
            return NoteWriter(model, self.prompts)
        if model.name not in _WARNED:
            _WARNED.add(model.name)
            logger.warning(
                "%r is too small to write notes, so rules write them; name a larger model, or pass `prompts` to use it",
                model.name,
            )
        return None

    @property
    def namespace(self) -> str:
        """The name under which derived rows are kept."""
        return "notes" if self.style == "facts" else self.style

    # -- writing -------------------------------------------------------------------------------------------------------

    def remember(self, text: str, *, session: str | None = None) -> Receipt:
        """Write one fact that the user states: a message, and a note that rests on it, in one transaction.

        The outcome names the note: the new one, or the one that says it already or that it replaces.
        """
        if len(checked_text("a fact", text)) > FACT_CHARACTERS:
            return super().remember(text, session=session)  # too long for one note: it will be consolidated
        message = Message(role="user", content=text, time=now())
        log.encode(message)
        place = self.session if session is None else checked_name("session", session)
        with self._database.write() as connection:
            user = log.ensure_user(connection, self.user)
            row = log.ensure_session(connection, user, place)
            (written,) = log.append(connection, user, row, [message], origin="added")
            batch = NoteSet(revisions.current(connection, user, self.namespace))
            earnest = attributes.in_earnest(text)
            self._put(batch, Fact(text.strip(), written.seq, message.time or now(), in_earnest=earnest))
            outcomes = self._write(connection, user, [replace(one, origin="user") for one in batch.edits])
            seq = log.last_seq(connection, user)
        return Receipt(outcomes=tuple(map(_as_merged, outcomes)), seq=seq)

    def consolidate(
        self, *, question: str | None = None, timeout: float = 60.0, progress: Progress | None = None
    ) -> ConsolidationResult:
        """Consolidate every message past the cursor, then embed the notes. Raises what the model raises, and `StoreLocked`."""
        done = super().consolidate(question=question, timeout=timeout, progress=progress)
        if done.outcomes:
            self._embed_notes()
        return done

    def _embed_notes(self) -> None:
        embedder = self._embedder()
        if embedder is None:
            return
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            book = None if user is None else self._books.load(connection, user, None)
            seen = log.last_seq(connection, user or 0)
        if book is not None and book.entries:
            embedder.store(book.texts.keys, seen=seen)

    # -- consolidating -------------------------------------------------------------------------------------------------

    def _consolidate(self, messages: Sequence[log.Stored], known: Mapping[str, Revision]) -> Consolidated:
        touched = self._touched()
        settled = {seq for one in touched if not one.dead for seq in one.sources}
        told = [one for one in messages if one.message.role == "user" and one.message.text.strip()]
        told = [one for one in told if one.origin != "added" or one.seq not in settled]
        if not told:
            return Consolidated(())
        batch, whole = NoteSet(known), self._whole(told)
        if self.writer is None:
            usage = self._alone(batch, whole, touched)
        else:
            shown = {one.seq: one.message for one in messages}
            usage = self._by_model(self.writer, batch, Conversation(shown, whole), touched)
        return Consolidated(tuple(batch.edits), usage)

    def _whole(self, messages: Sequence[log.Stored]) -> dict[int, Fact]:
        """Messages, each as one fact, by their places in the log."""
        with self._database.read() as connection:
            times = chronology.told(connection, messages)
        return {
            one.seq: Fact(
                one.message.text.strip(),
                one.seq,
                one.message.time or now(),
                one.message.speaker,
                in_earnest=attributes.in_earnest(one.message.text),
                recalled=times[one.seq].recalled,
            )
            for one in messages
        }

    def _touched(self) -> list[Revision]:
        """Revisions of notes that the user wrote, changed or deleted."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            return [] if user is None else revisions.touched(connection, user, self.namespace)

    def _alone(self, batch: NoteSet, told: Mapping[int, Fact], touched: Sequence[Revision]) -> Usage:
        """Without a model: place every fact of every message among the notes."""
        for seq, message in told.items():
            texts = facts(message.text)
            for text in texts if len(texts) <= MOST_FACTS else ():
                if not _decided(text, {seq}, touched):
                    self._put(batch, replace(message, text=text))
        return Usage()

    def _put(self, batch: NoteSet, fact: Fact) -> None:
        """Without a model: one statement."""
        put = key_value.put if self.style == "key_value" else consolidation.consolidate
        put(batch, fact)

    def _by_model(self, writer: NoteWriter, notes: NoteSet, conversation: Conversation, touched: Sequence[Revision]) -> Usage:
        tally = UsageCounter()
        if self.style == "key_value":
            writer.write_lines(notes, conversation, tally=tally)
            return tally.usage

        def wanted(fact: Sequence[Fact]) -> bool:
            return not _decided(fact[0].text, {one.seq for one in fact}, touched)

        writer.write_facts(notes, conversation, nearest=self._nearest, wanted=wanted, tally=tally)
        return tally.usage

    def _nearest(self, facts: Sequence[str], notes: Sequence[str]) -> list[list[int]]:
        """The notes nearest to each fact: by their vectors, or by their words where there are none."""
        embedder = self._embedder() if notes else None
        vectors = None if embedder is None else embedder.embed([*notes, *facts])
        return nearest(facts, notes, most=NEIGHBOURS, vectors=vectors)

    # -- reading -------------------------------------------------------------------------------------------------------

    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """Notes that answer `query` best, then messages not consolidated yet, each oldest first.

        What no longer holds is shown when everything fits or when the question asks about the past.
        """
        allowed = self._asked(query, budget, session, exclude)
        return NotesView(self._backend, self.user, self._embedder, self._scene(session, exclude)).recall(query, allowed)

    def _scene(self, session: str | None, exclude: Collection[str]) -> NoteQuery:
        """Everything that a view may show."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return NoteQuery.empty()
            book = self._books.load(connection, user, session)
            return NoteQuery.read(connection, user, self.namespace, book, session=session, exclude=exclude)

    def search(self, query: str, *, limit: int = 10, session: str | None = None) -> list[SearchResult]:
        """Notes that share a word or the meaning of the query, best first, then messages."""
        check_search(query, limit, session)
        scene = self._scene(session, ())
        ranked = NotesView(self._backend, self.user, self._embedder, scene).matching(query, least=ALIKE)[:limit]
        with self._database.read() as connection:
            found = [SearchResult(item=self._item(connection, one.revision), score=score) for one, score in ranked]
        return [*found, *super().search(query, limit=limit - len(found), session=session)] if len(found) < limit else found

    def _revision(self, connection: log.Connection, user: int, id: str) -> Revision | None:
        """A note, also one that no longer holds; None for one that the user deleted."""
        found = states(revisions.of_item(connection, user, self.namespace, id))
        if found.current is not None or not found.past:
            return found.current
        last = found.past[-1]
        data = {**last.revision.data, "valid_to": last.until}
        return replace(last.revision, data=data)

    def items(self, *, session: str | None = None, limit: int | None = None, newest_first: bool = False) -> list[Item]:
        """The notes that hold now, in the order in which they came to be."""
        book = self._book(checked_scope(session))
        held = sorted((one.revision for one in book.entries if one.until is None), key=_age) if book else []
        shown = held[::-1] if newest_first else held
        with self._database.read() as connection:
            return [self._item(connection, one) for one in shown[: checked_limit(limit)]]

    def _book(self, session: str | None) -> NoteIndex | None:
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            return None if user is None else self._books.load(connection, user, session)


def _age(revision: Revision) -> tuple[int, str]:
    """Items in the order in which they were made: their ids hold a growing number."""
    number = re.search(r"\d+", revision.item)
    return int(number[0]) if number else 0, revision.item


def _decided(text: str, seqs: set[int], touched: Sequence[Revision]) -> bool:
    """Whether the user has already changed or deleted a note that says this, drawn from one of these messages."""
    said = attributes.meaning(text)
    rivals = (one.text for one in touched if seqs.intersection(one.sources))
    return any(text == other or attributes.repeats(said, attributes.meaning(other)) for other in rivals)


def _as_merged(outcome: WriteResult) -> WriteResult:
    return outcome.model_copy(update={"action": "merged"}) if outcome.action == "skipped" else outcome
