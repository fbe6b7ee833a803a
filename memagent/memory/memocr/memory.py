"""MemOCR: a memory of rich text that is drawn as a picture and read by eye (arXiv 2601.21468).

`consolidate` drafts. Without a model, each sentence that tells something becomes a line that rests on its message. With one,
the paper's loop writes one Markdown document: item "draft", a revision for each chunk, resting on every message that went into
it. `consolidate(question=...)` drafts for that question alone: lines that bear on it, or a document of its own over the whole
log, which a later `recall` of the same question shows.

`recall` calls no chat model. It shows the document with the tiers that its model gave it, and lines in tiers by the question
(`memagent.memory.memocr.document`). Messages that neither rests on are drawn beside them: ones said a moment ago, ones whose
draft was unusable, ones left over when a message was forgotten and with it every draft that knew it. Text of messages is
escaped.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, get_args

from memagent.db import erasure, leases, log, revisions
from memagent.db.revisions import Revision
from memagent.errors import ConfigError, StoreLocked
from memagent.memory.backend import HasBackend
from memagent.memory.base import Progress, check_consolidation
from memagent.memory.derived import LEASE_SECONDS, Consolidated, DerivedMemory, NoteEdit
from memagent.memory.memocr import document, drafts
from memagent.memory.memocr.drafters import Drafter, DraftLine, ModelDrafter, SalienceDrafter
from memagent.memory.memocr.loops import CHUNK_TOKENS
from memagent.types import ConsolidationResult, Item, Recall, Receipt, Source, Usage, WriteResult
from memagent_renderers.budget import Budget, Picture
from memagent_renderers.cache import PictureCache

SEARCHED = 96
"""Messages searched for a question: more than any page shows."""
WORDS_SUFFICE = 12
"""Characters per token of the budget up to which everything surely fits, so that words alone may order it."""
_BEHIND_A_BLOCK = 3

T = TypeVar("T")
DrafterName = Literal["salience", "model"]


@dataclass(frozen=True)
class _Held:
    """What there is to show for one question."""

    lines: list[document.MemoryLine] = field(default_factory=list)
    document: Revision | None = None


class MemOcrMemory(DerivedMemory):
    """Rich text, laid out and drawn for each question. Budgets are visual tokens.

    `drafter` is "model" (the default with a model that is not `small`), "salience" (the default otherwise) or a `Drafter` of
    your own. `engine` is "embedded", "browser" or "fake". A document of more than `chunk_tokens` is drafted in chunks.
    """

    kind: ClassVar[str] = "memocr"
    draws: ClassVar[bool] = True
    default_budget: ClassVar[int] = 256
    batch: ClassVar[int] = 200

    def __init__(
        self,
        store: HasBackend,
        *,
        drafter: DrafterName | Drafter | None = None,
        engine: str = "embedded",
        chunk_tokens: int = CHUNK_TOKENS,
        **options: Any,
    ) -> None:
        super().__init__(store, **options)
        self.engine = engine
        self.drafter = drafter if isinstance(drafter, Drafter) else self._drafter(drafter, chunk_tokens)
        self._pictures: PictureCache | None = None
        self._known: dict[int, document.MemoryLine | None] = {}

    def _drafter(self, name: str | None, chunk_tokens: int) -> Drafter:
        if name is None:
            name = "model" if self.model is not None and not self.model.small else "salience"
        if name not in get_args(DrafterName):
            raise ConfigError(f"drafter is one of {', '.join(get_args(DrafterName))}, or a Drafter, not {name!r}")
        if name == "salience":
            return SalienceDrafter(self._backend.embedder)
        if self.model is None:
            raise ConfigError("drafter 'model' needs a model; give one, or take drafter 'salience'")
        return ModelDrafter(self.model, chunk_tokens=chunk_tokens)

    # -- drafting ------------------------------------------------------------------------------------------------------

    def consolidate(
        self, *, question: str | None = None, timeout: float = 60.0, progress: Progress | None = None
    ) -> ConsolidationResult:
        """Draft what no draft holds yet, for any question or for this one. A draft that is unusable is an outcome "skipped"."""
        check_consolidation(question, timeout)
        with self._database.read() as connection:
            if log.user_id(connection, self.user) is None:
                return ConsolidationResult()
        if self.drafter.overwrites:
            return self._draft_document(question, timeout, progress)
        done = super().consolidate(timeout=timeout, progress=progress)
        if question is None or not question.strip():
            return done
        return done.model_copy(update={"outcomes": done.outcomes + self._draft_for(question, timeout)})

    def _distil(self, messages: Sequence[log.Stored], known: Mapping[str, Revision]) -> Consolidated:
        drafted = self.drafter.draft(messages, known=_texts(known))
        return Consolidated(tuple(_proposal(line) for line in drafted.lines), drafted.usage)

    def _draft_for(self, focus: str, timeout: float) -> tuple[WriteResult, ...]:
        """Lines of the whole log that bear on a question."""
        with self._leased(timeout) as (user, _):
            while True:
                with self._database.read() as connection:
                    messages = list(log.read(connection, user))
                    known = revisions.current(connection, user, self.kind)
                    seen = log.last_seq(connection, user)
                lines = self.drafter.draft(messages, known=_texts(known), focus=focus).lines
                with self._database.write() as connection:
                    if not log.changed_since(connection, user, seen):
                        return tuple(self._put(connection, user, _proposal(line)) for line in lines)

    def _put(self, connection: log.Connection, user: int, proposal: NoteEdit) -> WriteResult:
        """Store a line or a document in the session of the newest message that it rests on."""
        newest = list(log.read_many(connection, proposal.sources[-1:]).values())
        item = revisions.append(
            connection,
            user,
            self.kind,
            item=proposal.item,
            action=proposal.action,
            text=proposal.text,
            data=proposal.data,
            reason=proposal.reason,
            origin="distilled",
            sources=proposal.sources,
            session_id=log.ensure_session(connection, user, newest[0].session) if newest else None,
        )
        return WriteResult(id=item, action="added" if proposal.action == "add" else "superseded", reason=proposal.reason)

    def _draft_document(self, focus: str | None, timeout: float, progress: Progress | None) -> ConsolidationResult:
        """Go on with the document through the messages that it does not hold, a chunk at a time."""
        steps: list[ConsolidationResult] = []
        tried: set[int] = set()
        with self._leased(timeout) as (user, renew):
            while left := [one for one in self._left_out(user, drafts.name_for(focus)) if one.seq not in tried]:
                batch = self.drafter.batches(left)[0]
                step = self._draft_batch(user, focus, batch, renew)
                if step is None:
                    continue
                tried.update(one.seq for one in batch)
                steps.append(step)
                if progress is not None:
                    progress(len(batch))
        return ConsolidationResult(
            processed=sum(step.processed for step in steps),
            outcomes=tuple(outcome for step in steps for outcome in step.outcomes),
            usage=sum((step.usage for step in steps), Usage()),
        )

    def _draft_batch(
        self, user: int, focus: str | None, batch: Sequence[log.Stored], renew: Callable[[], None]
    ) -> ConsolidationResult | None:
        """Draft one chunk; None when the document or a message was changed meanwhile: the draft may hold what is gone."""
        name = drafts.name_for(focus)
        with self._database.read() as connection:
            before = revisions.current(connection, user, self.kind).get(name)
            seen = log.last_seq(connection, user)
        known = {} if before is None else {name: before.text}
        drafted = self.drafter.draft(batch, known=known, focus=focus, after=renew)
        renew()
        outcomes: list[WriteResult] = []
        with self._database.write() as connection:
            earlier = revisions.of_item(connection, user, self.kind, name)
            if revisions.visible(earlier).get(name) != before or log.changed_since(connection, user, seen):
                return None
            if drafted.lines:
                proposal = drafts.following(before, drafted.lines[0].text, batch, earlier, focus, whole=not drafted.unusable)
                outcomes.append(self._put(connection, user, proposal))
                drafts.drop(connection, drafts.outgrown(earlier))
        if drafted.unusable:
            reason = f"{drafted.unusable} of the model's drafts could not be used; the memory before them stands"
            outcomes.append(WriteResult(id=name, action="skipped", reason=reason))
        return ConsolidationResult(processed=len(batch) if drafted.lines else 0, outcomes=tuple(outcomes), usage=drafted.usage)

    @contextmanager
    def _leased(self, timeout: float) -> Iterator[tuple[int, Callable[[], None]]]:
        """Hold the lease of this user and kind; yields the user's row and what renews the lease while a model thinks."""
        owner = uuid.uuid4().hex
        user = self._take_lease(owner, timeout)

        def renew() -> None:
            with self._database.write() as connection:
                if not leases.take(connection, user, self.kind, owner=owner, seconds=LEASE_SECONDS):
                    raise StoreLocked(f"another process took over the flush of {self.kind!r}; call flush again")

        try:
            yield user, renew
        finally:
            with self._database.write() as connection:
                leases.release(connection, user, self.kind, owner=owner)

    def _left_out(self, user: int, name: str) -> list[log.Stored]:
        """Live messages that a document does not hold."""
        with self._database.read() as connection:
            document = revisions.current(connection, user, self.kind).get(name)
            held = drafts.held_by(document)
            return [one for one in log.read(connection, user) if one.seq not in held]

    def pending_count(self) -> int:
        """Messages that no draft holds yet."""
        if not self.drafter.overwrites:
            return super().pending_count()
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
        return 0 if user is None else len(self._left_out(user, drafts.DRAFT))

    # -- reading -------------------------------------------------------------------------------------------------------

    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """A picture of what fits the query best, largest first. The view of an empty memory is no picture but ""."""
        from memagent_renderers.budget import tokens_for

        allowed = self._asked(query, budget, session, exclude)
        tokens_for(allowed)
        markdown, chosen, left_out, draft = self._page(query, allowed, session, exclude)
        if not markdown:
            return Recall(text="", cost=0, budget=allowed.tokens, kind=self.kind, exact=allowed.reader.exact)
        picture = self._draw(markdown, allowed)
        sources = self._sources(document.shown_blocks(markdown, picture), chosen, draft)
        return Recall(
            picture=picture,
            cost=picture.tokens,
            budget=allowed.tokens,
            kind=self.kind,
            exact=allowed.reader.exact,
            sources=tuple(sources),
            dropped=picture.dropped + left_out,
        )

    def page(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> str:
        """The Markdown that `recall` lays out for a question, more of it than a picture of the budget holds; "" for nothing."""
        return self._page(query, self._asked(query, budget, session, exclude), session, exclude)[0]

    def _page(
        self, query: str, budget: Budget, session: str | None, exclude: Collection[str]
    ) -> tuple[str, list[document.MemoryLine], int, Revision | None]:
        """The Markdown, its lines, how many lines are not in it, and the model's document in it."""
        held = self._held(query, session, exclude)
        lines = document.ordered(held.lines, query, self._search(query, session, held.lines, budget))
        chosen = document.with_dates(document.overfilling(lines, budget), query, budget)
        drafted = "" if held.document is None else held.document.text
        markdown = "\n\n".join(part for part in (document.markdown(chosen), drafted) if part)
        return markdown, chosen, len(lines) - len(chosen), held.document

    def _held(self, query: str, session: str | None, exclude: Collection[str]) -> _Held:
        """Document, lines, and messages that are in neither."""
        seen = set(exclude)
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return _Held()
            every = revisions.of_memory(connection, user, self.kind)
            current = revisions.visible(every)
            draft = drafts.for_query(current, query)
            if draft is not None and not drafts.suits(connection, draft, session, seen):
                draft = None
            held = drafts.held_by(draft)
            kept = [one for one in current.values() if not drafts.is_document(one) and not _within(one.sources, held)]
            found = self._lines(connection, kept)
            raw = self._undistilled(connection, user, session)
        # also what rests in a line that the user forgot: the message must not take its place
        lines = (one for one in every if one.action != "none" and not one.dead and not drafts.is_document(one))
        held = held.union(*(one.sources for one in lines))
        found += [document.message(one) for one in raw if one.seq not in held]
        return _Held(
            [
                line
                for line in found
                if line is not None and session in (None, line.session) and not _within(line.source.messages, seen)
            ],
            draft,
        )

    def _lines(self, connection: log.Connection, kept: Sequence[Revision]) -> list[document.MemoryLine | None]:
        """The lines of these revisions, as they are drawn. A revision never changes, so each is made once."""
        fresh = [one for one in kept if one.id not in self._known]
        if fresh and len(self._known) > 2 * len(kept):
            self._known, fresh = {}, list(kept)
        behind = log.read_many(connection, {seq for one in fresh for seq in one.sources})
        for one in fresh:
            self._known[one.id] = document.drafted(one, [behind[seq] for seq in one.sources if seq in behind])
        known = self._known
        return [known.get(one.id) for one in kept]

    def _search(
        self, query: str, session: str | None, lines: Sequence[document.MemoryLine], budget: Budget
    ) -> dict[int, float]:
        """How well messages answer the query, 0 to 1, by place in the log."""
        if not query.strip() or not lines:
            return {}
        few = sum(len(line.source.text) for line in lines) <= WORDS_SUFFICE * budget.tokens
        hits = (
            self._backend.searcher(self.user)
            .passages(query, limit=SEARCHED, session=session, mode="lexical" if few else "fused")
            .hits
        )
        if not hits:
            return {}
        high, low = hits[0].score, 0.0 if few else hits[-1].score
        scores: dict[int, float] = {}
        for hit in hits:
            score = (hit.score - low) / (high - low) if high > low else 0.0
            scores[hit.stored.seq] = max(score, scores.get(hit.stored.seq, 0.0))
        return scores

    def _draw(self, markdown: str, budget: Budget) -> Picture:
        from memagent_renderers.engines import shared_engine
        from memagent_renderers.picture import render

        if self._pictures is None:
            self._pictures = PictureCache(None if self._backend.read_only else self._backend.picture_folder(self.user))
        return render(markdown, budget, engine=shared_engine(self.engine), cache=self._pictures)

    def _sources(
        self, shown: Sequence[tuple[int, str]], lines: Sequence[document.MemoryLine], document: Revision | None
    ) -> Iterator[Source]:
        """What stands on the page: lines by their messages, parts of a document by the messages that their words point to."""
        for place, text in shown:
            if place < len(lines):
                line = lines[place]
                yield line.source.model_copy(update={"text": text, "score": round(line.relevance, 4)})
            elif document is not None:
                yield Source(id=document.item, messages=self._behind(text, document), text=text)

    def _behind(self, text: str, document: Revision) -> tuple[str, ...]:
        """Messages of a document that share most words with a part of it."""
        from memagent.text.statements import key_terms

        said, held = key_terms(text), set(document.sources)
        hits = self._backend.searcher(self.user).search(text, limit=_BEHIND_A_BLOCK, mode="lexical")
        found = [one.stored for one in hits if one.stored.seq in held]
        return tuple(one.message.id for one in found if one.message.id and said & key_terms(one.message.text))

    # -- items ---------------------------------------------------------------------------------------------------------

    def purge(self, id: str | None = None, *, everything: bool = False) -> Receipt:
        """Erase an item or the user, pictures included. A model's document goes alone: its messages stay."""
        try:
            return super().purge(id, everything=everything)
        finally:
            self._pictures, self._known = None, {}

    def _erase(self, connection: log.Connection, user: int, id: str) -> list[str]:
        found = revisions.of_item(connection, user, self.kind, id)
        if not found or not drafts.is_name(id):
            return super()._erase(connection, user, id)
        erasure.item(connection, user, self.kind, id)
        return [one.text for one in found]

    def _item(self, connection: log.Connection, revision: Revision) -> Item:
        return super()._item(connection, revision).model_copy(update={"kind": "draft"})


def _within(some: Collection[T], held: set[T]) -> bool:
    """Whether there are some, and all of them are held."""
    return bool(some) and held.issuperset(some)


def _texts(known: Mapping[str, Revision]) -> dict[str, str]:
    return {name: one.text for name, one in known.items() if not drafts.is_document(one)}


def _proposal(line: DraftLine) -> NoteEdit:
    data = {"tier": line.tier, "importance": round(line.importance, 4)}
    if line.item is None:
        return NoteEdit("add", line.text, "drafted", line.sources, data=data)
    return NoteEdit("update", line.text, "said again", line.sources, item=line.item, data=data)
