"""Questions with the documents that answer them, whatever data set they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from memagent.text.sentences import sentences


@dataclass(frozen=True)
class Document:
    """A titled text in sentences; some may be empty."""

    title: str
    sentences: tuple[str, ...]
    mentions: frozenset[str] = frozenset()
    """Names, besides the title, that set it apart: no context holds a foreign document with a name of its question's own."""

    @classmethod
    def of(cls, title: str, text: str) -> Self:
        """A document of running text, cut into sentences; runs of blanks become one."""
        return cls(title, tuple(sentences(text)))

    @property
    def text(self) -> str:
        """The sentences as running text."""
        return " ".join(sentence for sentence in self.sentences if sentence)

    @property
    def names(self) -> frozenset[str]:
        return self.mentions | {self.title}


@dataclass(frozen=True)
class QAExample:
    """A question, its gold answers, its own documents, and which of them support the answer."""

    id: str
    question: str
    answers: tuple[str, ...]
    """One at least; any of them is right, and the first is the one that is shown."""
    documents: tuple[Document, ...]
    """Empty where the file has none and none was found."""
    evidence: tuple[tuple[int, int], ...]
    """(place in `documents`, place in its sentences) of each supporting sentence that is known."""
    support: tuple[int, ...] = ()
    """Places in `documents` of those that support the answer, in the order of the hops where that is known."""
    kind: str = ""
    """What kind of question the data set calls it, such as `bridge` or `2 hops`; "" where it says nothing."""

    @property
    def answer(self) -> str:
        """The first gold answer."""
        return self.answers[0]


@dataclass(frozen=True)
class Dataset:
    """What a file holds: its questions, and every document in it, for padding."""

    cases: tuple[QAExample, ...]
    pool: tuple[Document, ...]
    """Each distinct document once, in the order of the file."""
    form: str = ""
    """Form of the file: `hotpotqa`, `2wikimultihopqa`, `musique`, `nq`, `triviaqa`, `locomo`, `flashrag` or `made`."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Questions of the file that are no cases, counted by the reason."""

    @property
    def without_gold(self) -> tuple[str, ...]:
        """Ids of the cases that no document is known to support: they stay in every mean, and can only be guessed."""
        return tuple(case.id for case in self.cases if not case.support)
