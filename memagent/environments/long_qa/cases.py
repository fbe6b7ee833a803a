"""Questions with the documents that answer them, whatever data set they come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A titled text in sentences; some may be empty."""

    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences as running text."""
        return " ".join(sentence for sentence in self.sentences if sentence)


@dataclass(frozen=True)
class Case:
    """A question, its gold answers, its own documents, and which of their sentences support the answer."""

    id: str
    question: str
    answers: tuple[str, ...]
    """One at least; any of them is right, and the first is the one that is shown."""
    documents: tuple[Document, ...]
    evidence: tuple[tuple[int, int], ...]
    """(place in `documents`, place in its sentences) of each supporting sentence."""

    @property
    def answer(self) -> str:
        """The first gold answer."""
        return self.answers[0]


@dataclass(frozen=True)
class Cases:
    """What a file holds: its questions, and every document in it, for padding."""

    cases: tuple[Case, ...]
    pool: tuple[Document, ...]
    """Each distinct document once, in the order of the file."""
