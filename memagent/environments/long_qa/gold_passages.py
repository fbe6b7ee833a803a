"""The paragraph that answers a question, for data sets that do not say which one does (NQ, TriviaQA).

It is looked for in the pool that contexts are filled from: a paragraph counts where a gold answer stands in its text word by
word, both normalised as for the metrics. Of several the one that shares most words with the question is taken, and of those the
first. Yes, no and answers without words stand anywhere or nowhere: they are looked for in vain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.evaluation.metrics import normalise, strict_sub_em


def with_gold(cases: Sequence[QAExample], pool: Sequence[Document]) -> tuple[QAExample, ...]:
    """The cases; those without documents with the paragraph of `pool` that answers them, where there is one."""
    if all(case.documents for case in cases):
        return tuple(cases)
    found = _Finder(pool)
    return tuple(case if case.documents else found.complete(case) for case in cases)


def sentence_with(document: Document, answers: Sequence[str]) -> int | None:
    """Place of the first sentence that holds one of the answers; None where none does."""
    return next((at for at, sentence in enumerate(document.sentences) if strict_sub_em(sentence, answers)), None)


def answered_by(case: QAExample, document: Document) -> QAExample:
    """A case with the one document that answers it."""
    at = sentence_with(document, case.answers)
    return replace(case, documents=(document,), support=(0,), evidence=() if at is None else ((0, at),))


class _Finder:
    """Paragraphs by their words."""

    def __init__(self, pool: Sequence[Document]) -> None:
        self._pool = pool
        self._texts = [normalise(document.text) for document in pool]
        self._holding: defaultdict[str, set[int]] = defaultdict(set)
        for number, text in enumerate(self._texts):
            for word in text.split():
                self._holding[word].add(number)

    def complete(self, case: QAExample) -> QAExample:
        """The case with its paragraph."""
        wanted = {normalise(answer) for answer in case.answers} - {"", "yes", "no"}
        numbers: set[int] = set()
        for answer in wanted:
            candidates = set.intersection(*(self._holding.get(word, set()) for word in answer.split()))
            numbers |= {number for number in candidates if f" {answer} " in f" {self._texts[number]} "}
        if not numbers:
            return case
        words = set(normalise(case.question).split())
        best = max(sorted(numbers), key=lambda number: len(words & set(self._texts[number].split())))
        return answered_by(case, self._pool[best])
