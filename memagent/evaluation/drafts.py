"""The memory that is drawn or cut: lines in tiers, the same for every method and every budget.

Drafter `ranked` takes the sentences of a context in the order of `memagent.evaluation.ranking`; `salience` is the one that
ships, asked for the question, its lines in the order and tiers in which a MemOCR memory shows them. Either way the order of
the lines is the one ranking that all methods share, and drafting ends at the tokens that the published drafter may write.

A line must be understood alone, so it opens with the title of its document ("Ada: She was born in Lyon.") unless it names
that itself. All methods show the same lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memagent.db.log import Stored
from memagent.environments.long_qa.dataset import Document
from memagent.environments.long_qa.padding import Count
from memagent.errors import UnknownName
from memagent.evaluation.evidence import normal_words
from memagent.evaluation.ranking import Ranker
from memagent.memory.memocr.document import BOLD_LINES, MemoryLine, markdown, ordered, shown_text
from memagent.memory.memocr.drafters import SalienceDrafter
from memagent.retrieval.embedders.base import Embedder
from memagent.types import Message, Source

DRAFT_TOKENS = 2048
"""Most text tokens of a draft: what the published drafter may write."""
BODY_LINES = 8
"""Lines of ordinary type behind the heading and the bold lines; the rest is small."""
DRAFTERS = ("ranked", "salience")


@dataclass(frozen=True)
class Draft:
    """Lines in tiers, the most important first; the `seq` of a line is the place of its document in the context."""

    lines: tuple[MemoryLine, ...]
    tokens: int
    """Text tokens of `text`, counted line by line."""

    @property
    def texts(self) -> list[str]:
        """What the lines say, without their tiers."""
        return [line.source.text for line in self.lines]

    @property
    def text(self) -> str:
        """The draft without its tiers, a line each."""
        return "\n".join(self.texts)

    @property
    def markdown(self) -> str:
        """The draft with its tiers."""
        return markdown(self.lines)


class Drafting:
    """A drafter by name. Raises `UnknownName`."""

    def __init__(self, name: str, embedder: Embedder | None, count: Count) -> None:
        if name not in DRAFTERS:
            raise UnknownName(f"no drafter of this bench is called `{name}`; there are: {', '.join(DRAFTERS)}")
        self._name = name
        self._ranker = Ranker(embedder)
        self._salience = SalienceDrafter(lambda: embedder)
        self._count = count

    def draft(self, question: str, documents: Sequence[Document]) -> Draft:
        """The memory of these documents for a question; empty when they hold no text."""
        lines = self._ranked(question, documents) if self._name == "ranked" else self._salient(question, documents)
        return _within(lines, self._count)

    def _ranked(self, question: str, documents: Sequence[Document]) -> Iterable[MemoryLine]:
        place = 0
        for found in self._ranker.rank(question, documents):
            document = documents[found.document]
            text = titled(document.title, document.sentences[found.sentence])
            if text:
                yield _line(text, _tier(place), found.document)
                place += 1

    def _salient(self, question: str, documents: Sequence[Document]) -> list[MemoryLine]:
        stored = [
            Stored(place, "", Message(role="user", content=one.text), "imported", True)
            for place, one in enumerate(documents)
            if one.text
        ]
        drafted = self._salience.draft(stored, known={}, focus=question).lines
        lines = [(titled(documents[one.sources[0]].title, one.text), one) for one in drafted]
        return ordered([_line(text, one.tier, one.sources[0], one.importance) for text, one in lines if text], question, {})


def titled(title: str, sentence: str) -> str:
    """A sentence as a line of a memory; "" when there is nothing to see in it."""
    shown = shown_text(sentence)
    named = set(normal_words(title.partition("(")[0])) <= set(normal_words(shown))
    return shown if named or not shown else shown_text(f"{title}: {shown}")


def _tier(place: int) -> str:
    if place == 0:
        return "heading"
    if place <= BOLD_LINES:
        return "bold"
    return "body" if place <= BOLD_LINES + BODY_LINES else "small"


def _line(text: str, tier: str, document: int, importance: float = 0.0) -> MemoryLine:
    return MemoryLine(Source(id=str(document), text=text), tier, importance, document, "")


def _within(lines: Iterable[MemoryLine], count: Count) -> Draft:
    kept: list[MemoryLine] = []
    used = 0
    for line in lines:
        size = count(line.source.text) + 1
        if used + size > DRAFT_TOKENS:
            break
        kept.append(line)
        used += size
    return Draft(tuple(kept), used)
