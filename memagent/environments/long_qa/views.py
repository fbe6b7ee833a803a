"""What each method shows of one context, within a budget.

| method | what is shown |
|---|---|
| `memocr` | the rich text, laid out as a picture for the budget |
| `uniform` | the same text without headings and emphasis: the best page of one type size, shrunk |
| `memagent` | the plain text up to its B-th token, as published |
| `memagent-fair` | the plain text as it was written anew for B tokens |
| `rag` | the documents in the order of their best sentences, up to the B-th token |
| `notes` | what the memory `notes` keeps of the documents: the best notes for the question, each that still fits |

Notes are taken without knowing the question, and shown without their dates, which documents do not have and which would cost
half of a small budget.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.environments.long_qa.memories import Modelled, Once, Ranked, Written
from memagent.environments.long_qa.padding import Context, Count
from memagent.environments.long_qa.settings import Settings
from memagent.evaluation import arms
from memagent.evaluation.drafts import Draft, Drafting, titled
from memagent.models.base import ChatModel
from memagent.retrieval.embedders.base import Embedder
from memagent.store import Store
from memagent.types import Message, Source
from memagent_renderers.budget import Budget, Picture, ReaderProfile
from memagent_renderers.engines import Engine

_WIDE = 4
"""Notes are recalled within so many times the budget: their dates cost tokens there that are not shown here."""
_THEN = datetime(2000, 1, 1, tzinfo=UTC)
"""When all documents were said, so that views are the same on every day."""


class Workshop:
    """What all views of a run share, one at a time: ranking, embedder and engine."""

    def __init__(
        self, settings: Settings, *, writer: ChatModel | None, embedder: Embedder | None, engine: Engine, count: Count
    ) -> None:
        self.settings, self.count, self.engine = settings, count, engine
        self.writer = writer
        """Model that writes memories; None: ranked lines."""
        self.lock = threading.RLock()
        self._embedder = embedder
        self._drafting = Drafting("ranked", embedder, count)

    def draft(self, question: str, documents: Sequence[Document]) -> Draft:
        """The lines of documents, ranked for a question."""
        with self.lock:
            return self._drafting.draft(question, documents)

    def notes(self, question: str, documents: Sequence[Document]) -> dict[int, list[str]]:
        """For each budget, notes of documents, the best for the question first, and more of them than fit."""
        messages = [Message(role="user", content=text, time=_THEN) for text in map(_told, documents) if text]
        with self.lock, tempfile.TemporaryDirectory() as folder, Store(folder, embedder=self._embedder) as store:
            memory = store.memory("notes", model=self.writer)
            memory.add(messages)
            memory.consolidate()
            reader = ReaderProfile("bench", self.count, exact=True)
            recalled = {at: memory.recall(question, budget=Budget(_WIDE * at, reader)) for at in self.settings.budgets}
        return {at: [one.text for one in sorted(found.sources, key=_rank)] for at, found in recalled.items()}


class Views:
    """The views of one context for one question; what several of them need is made once."""

    def __init__(self, workshop: Workshop, case: QAExample, context: Context) -> None:
        self._shop, self._question, self._documents = workshop, case.question, context.documents
        self._draft = Once(lambda: workshop.draft(case.question, context.documents))
        self._written: Once[Written] = Once(lambda: self._write(context))
        self._notes = Once(lambda: workshop.notes(case.question, context.documents))

    def picture(self, arm: str, budget: Budget) -> Picture:
        """The picture that a method shows. Raises what the model, layout and the engine raise."""
        markdown = self._written().markdown()
        with self._shop.lock:
            return arms.picture("fit" if arm == "memocr" else arm, markdown, budget, self._shop.engine)

    def text(self, arm: str, tokens: int) -> str:
        """The text that a method shows. Raises what the model raises."""
        count = self._shop.count
        match arm:
            case "memagent":
                return arms.cut(self._written().text(), tokens, count)
            case "memagent-fair":
                return self._written().within(tokens)
            case "notes":
                return arms.whole_lines(self._notes()[tokens], tokens, count)
            case _:
                return arms.text("rag", self._draft(), self._documents, tokens, count)

    def memory_tokens(self, arm: str) -> int | None:
        """Text tokens of the memory behind a view; None where it has none of its own."""
        if arm in ("rag", "notes"):
            return None
        return self._shop.count(self._written().markdown() if arm in ("memocr", "uniform") else self._written().text())

    def _write(self, context: Context) -> Written:
        shop = self._shop
        if shop.writer is None:
            return Ranked(self._draft(), shop.count)
        chunk_tokens = shop.settings.chunk_tokens
        return Modelled(shop.writer, self._question, context.text, chunk_tokens=chunk_tokens, count=shop.count)


def _rank(source: Source) -> float:
    """Sorts notes; they have no score where all of them fit."""
    return -(source.score or 0.0)


def _told(document: Document) -> str:
    """A document as it is told to the notes: its sentences, each to be understood alone."""
    return "\n".join(text for sentence in document.sentences if (text := titled(document.title, sentence)))
