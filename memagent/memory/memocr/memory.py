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

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from memagent.db import erasure, log, revisions
from memagent.db.revisions import Revision
from memagent.errors import ConfigError
from memagent.memory.arguments import check_consolidation
from memagent.memory.backend import HasBackend
from memagent.memory.base import Progress
from memagent.memory.derived import NEW, Consolidated, DerivedMemory, Lease, NoteEdit, joined
from memagent.memory.memocr import drafts
from memagent.memory.memocr.candidates import LineCache, read_candidates
from memagent.memory.memocr.document import DOCUMENT_SCALE, MemoryLine, MemoryPage, compose
from memagent.memory.memocr.drafters import Drafter, DraftLine, ModelDrafter, SalienceDrafter
from memagent.memory.memocr.loops import CHUNK_TOKENS
from memagent.retrieval.short_texts import Text, Texts, fused, lexical_scores
from memagent.text.statements import key_terms
from memagent.types import ConsolidationResult, Item, Recall, Receipt, Source, WriteResult
from memagent_renderers.budget import Budget, Picture
from memagent_renderers.cache import PictureCache

logger = logging.getLogger(__name__)

SEARCHED = 96
"""Messages searched for a question: more than any page shows."""
WORDS_SUFFICE = 12
"""Characters per token of the budget up to which everything surely fits, so that words alone may order it."""
_BEHIND_A_BLOCK = 3

DrafterName = Literal["salience", "model"]


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
        self._lines = LineCache()
        self._warned: set[str] = set()

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
        if question is not None and question.strip():
            done = done.model_copy(update={"outcomes": done.outcomes + self._add_lines_for(question, timeout)})
        self._embed_documents()
        return done

    def _embed_documents(self) -> None:
        """Embed the lines of documents ahead of time, in this process: `recall` embeds a few hundred at most."""
        embedder = self._embedder() if self._backend.searcher(self.user).holds_documents() else None
        if embedder is None:
            return
        with self._database.read() as connection:
            user = self._user_row(connection)
            kept = revisions.current(connection, user, self.namespace).values()
            lines = self._lines.of(connection, user, [one for one in kept if not drafts.is_document(one)])
        embedder.embed([line.source.text for line in lines])

    def _consolidate(self, messages: Sequence[log.Stored], known: Mapping[str, Revision]) -> Consolidated:
        """New lines of messages, by a drafter that adds lines."""
        drafted = self.drafter.draft(messages, known=_texts(known))
        return Consolidated(tuple(_edits(drafted.lines)), drafted.usage)

    def _add_lines_for(self, question: str, timeout: float) -> tuple[WriteResult, ...]:
        """Lines of the whole log that bear on a question, by a drafter that adds lines."""
        with self._leased(timeout) as lease:
            while True:
                with self._database.read() as connection:
                    messages = list(log.read(connection, lease.user))
                    known = revisions.current(connection, lease.user, self.namespace)
                    seen = log.last_seq(connection, lease.user)
                lines = self.drafter.draft(messages, known=_texts(known), question=question).lines
                with self._database.write() as connection:
                    if not log.changed_since(connection, lease.user, seen):
                        return tuple(self._write(connection, lease.user, _edits(lines)))

    def _draft_document(self, question: str | None, timeout: float, progress: Progress | None) -> ConsolidationResult:
        """Go on with the document through the messages that it does not hold, a chunk at a time."""
        done, tried = ConsolidationResult(), set[int]()
        with self._leased(timeout) as lease:
            while left := [one for one in self._left_out(lease.user, drafts.name_for(question)) if one.seq not in tried]:
                batch = self.drafter.batches(left)[0]
                step = self._draft_batch(lease, question, batch)
                if step is None:
                    continue
                tried.update(one.seq for one in batch)
                done = joined(done, step)
                if progress is not None:
                    progress(len(batch))
        return done

    def _draft_batch(self, lease: Lease, question: str | None, batch: Sequence[log.Stored]) -> ConsolidationResult | None:
        """Draft one chunk; None when the document or a message was changed meanwhile: the draft may hold what is gone."""
        user, name = lease.user, drafts.name_for(question)
        with self._database.read() as connection:
            before = revisions.current(connection, user, self.namespace).get(name)
            seen = log.last_seq(connection, user)
        known = {} if before is None else {name: before.text}
        drafted = self.drafter.draft(batch, known=known, question=question, after=lease.renew)
        lease.renew()
        outcomes: list[WriteResult] = []
        with self._database.write() as connection:
            earlier = revisions.of_item(connection, user, self.namespace, name)
            if revisions.visible(earlier).get(name) != before or log.changed_since(connection, user, seen):
                return None
            if drafted.lines:
                text, whole = drafted.lines[0].text, not drafted.unusable
                outcomes += self._write(
                    connection, user, [drafts.following(before, text, batch, earlier, question, whole=whole)]
                )
                drafts.drop(connection, drafts.outgrown(earlier))
        if drafted.unusable:
            reason = f"{drafted.unusable} of the model's drafts could not be used; the memory before them stands"
            outcomes.append(WriteResult(id=name, action="skipped", reason=reason))
        return ConsolidationResult(processed=len(batch) if drafted.lines else 0, outcomes=tuple(outcomes), usage=drafted.usage)

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
        page = self._page(query, allowed, session, exclude)
        if not page.markdown:
            return Recall(text="", cost=0, budget=allowed.tokens, kind=self.kind, exact=allowed.reader.exact)
        picture = self._draw(page.markdown, allowed)
        sources = list(self._sources(page, picture))
        self._warn_of(picture.missing)
        return Recall(
            picture=picture,
            cost=picture.tokens,
            budget=allowed.tokens,
            kind=self.kind,
            exact=allowed.reader.exact,
            sources=tuple(one for one in sources if one.text),
            dropped=picture.dropped + page.left_out + sum(not one.text for one in sources),
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
        return self._page(query, self._asked(query, budget, session, exclude), session, exclude).markdown

    def _page(self, query: str, budget: Budget, session: str | None, exclude: Collection[str]) -> MemoryPage:
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return MemoryPage((), 0)
            raw = self._unconsolidated(connection, user, session)
            found = read_candidates(
                connection, user, self.namespace, self._lines, query=query, raw=raw, session=session, exclude=exclude
            )
        if query.strip() and found.lines and self._backend.searcher(self.user).holds_documents(session):
            relevance = self._relevance(query, [line.source.text for line in found.lines])
            return compose(found.lines, query, {}, budget, draft=found.draft, relevance=relevance)
        return compose(found.lines, query, self._search(query, session, found.lines, budget), budget, draft=found.draft)

    def _relevance(self, query: str, lines: Sequence[str]) -> list[float]:
        """How well each line of documents answers the query by itself, 0 to `DOCUMENT_SCALE`.

        A sentence of a document has no turns around it that would tell what it answers, so it is ranked as a short text.
        """
        texts, embedder = Texts([Text.of(line) for line in lines]), self._embedder()
        lexical = lexical_scores(query, texts)
        dense = None if embedder is None else texts.vectors(embedder) @ embedder.embed([query], role="query")[0]
        if not lexical.any() and dense is None:
            return [0.0] * len(lines)
        scores = fused(lexical, dense, np.zeros_like(lexical))
        spread = float(scores.max() - scores.min()) or 1.0
        return [float(score) for score in (scores - scores.min()) * (DOCUMENT_SCALE / spread)]

    def _search(self, query: str, session: str | None, lines: Sequence[MemoryLine], budget: Budget) -> dict[int, float]:
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

    def _warn_of(self, missing: Collection[str]) -> None:
        """Say once of each character that no font draws it."""
        from memagent_renderers.fonts.fallback import advice

        if fresh := sorted(set(missing) - self._warned):
            self._warned.update(fresh)
            logger.warning("no font here draws %s; the page shows � in their place. %s", " ".join(fresh[:20]), advice(fresh))

    def _sources(self, page: MemoryPage, picture: Picture) -> Iterator[Source]:
        """What stands on the page, as it is drawn, "" where no font draws any of it: lines by their messages, parts of a draft
        by the messages most like them.
        """
        from memagent_renderers.fonts import UNKNOWN, substitute

        searcher = self._backend.searcher(self.user)
        for line, whole in page.shown(picture):
            text = substitute(whole)[0] if picture.missing else whole
            if UNKNOWN in text and not any(sign.isalnum() for sign in text.removesuffix(f"({line.date})" if line else "")):
                text = ""
            if line is not None:
                yield line.source.model_copy(update={"text": text, "score": round(line.relevance, 4)})
            elif page.draft is not None:
                said, held = key_terms(text), set(page.draft.sources)
                hits = [hit.stored for hit in searcher.search(text, limit=_BEHIND_A_BLOCK, mode="lexical")]
                behind = [one.message for one in hits if one.seq in held and said & key_terms(one.message.text)]
                yield Source(id=page.draft.item, messages=tuple(one.id for one in behind if one.id), text=text)

    # -- items ---------------------------------------------------------------------------------------------------------

    def purge(self, id: str | None = None, *, everything: bool = False) -> Receipt:
        """Erase an item or the user, pictures included. A model's document goes alone: its messages stay."""
        try:
            return super().purge(id, everything=everything)
        finally:
            self._pictures = self._cached = None
            self._lines.clear()

    def _erase(self, connection: log.Connection, user: int, id: str) -> list[str]:
        found = revisions.of_item(connection, user, self.namespace, id)
        if not found or not drafts.is_name(id):
            return super()._erase(connection, user, id)
        erasure.item(connection, user, self.namespace, id)
        return [one.text for one in found]

    def _item(self, connection: log.Connection, revision: Revision) -> Item:
        return super()._item(connection, revision).model_copy(update={"kind": "draft"})


def _texts(known: Mapping[str, Revision]) -> dict[str, str]:
    return {name: one.text for name, one in known.items() if not drafts.is_document(one)}


def _edits(lines: Sequence[DraftLine]) -> list[NoteEdit]:
    made: set[str | None] = {None}
    edits: list[NoteEdit] = []
    for line in lines:
        data = {"tier": line.tier, "importance": round(line.importance, 4)}
        fresh = line.item is None or (line.item.startswith(NEW) and line.item not in made)
        made.add(line.item)
        action, reason = ("add", "drafted") if fresh else ("update", "said again")
        edits.append(NoteEdit(action, line.text, reason, line.sources, item=line.item, data=data))  # type: ignore[arg-type]
    return edits
