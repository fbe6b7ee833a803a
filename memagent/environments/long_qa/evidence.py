"""What of the evidence of an answer, and of nothing else, stands in a view. Texts are compared as metrics normalise them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memagent.errors import InputError
from memagent.evaluation.metrics import normalise
from memagent_renderers.document import parse
from memagent_renderers.legibility import aligned

SHOWN_FROM = 0.8
"""Share of a supporting sentence's words from which it counts as shown."""


def normal_words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return normalise(text).split()


def sentence_shown(sentence: str, text: str) -> bool:
    """Whether at least `SHOWN_FROM` of the words of a sentence stand in the text, in order, each used once.

    The rest may have been misread or cut. A sentence without words is not shown.
    """
    words = normal_words(sentence)
    return bool(words) and sum(aligned(words, normal_words(text))) >= SHOWN_FROM * len(words)


def evidence_shown(sentences: Sequence[str], text: str) -> float:
    """Share of the supporting sentences that a text shows, 0 to 1. Raises `InputError` when there are none."""
    if not sentences:
        raise InputError("a question without supporting sentences has no share of them; leave it out")
    return sum(sentence_shown(sentence, text) for sentence in sentences) / len(sentences)


@dataclass(frozen=True)
class Precision:
    """Words of a region, and how many of them belong to a gold answer or the title of a supporting document."""

    gold: int = 0
    words: int = 0

    @property
    def share(self) -> float | None:
        """Evidence precision, 0 to 1; None for a region without words."""
        return self.gold / self.words if self.words else None

    def __add__(self, other: Precision) -> Precision:
        return Precision(self.gold + other.gold, self.words + other.words)


def evidence_precision(markdown: str, golds: Sequence[str]) -> dict[str, Precision]:
    """Evidence precision of each tier of a memory, and of its "crucial" region (headings) and its "detailed" one (the rest).

    A word belongs to a gold phrase where the whole phrase stands, word by word. MemOCR (arXiv 2601.21468, section 4.4) gives no
    formula; tokens are words here.
    """
    phrases = [words for words in map(normal_words, golds) if words]
    found: dict[str, Precision] = {"crucial": Precision(), "detailed": Precision()}
    for block in parse(markdown):
        words = normal_words(block.text)
        covered = {
            place
            for phrase in phrases
            for start in range(len(words) - len(phrase) + 1)
            if words[start : start + len(phrase)] == phrase
            for place in range(start, start + len(phrase))
        }
        own = Precision(len(covered), len(words))
        region = "crucial" if block.tier in ("h1", "h2", "h3", "h4", "h5", "h6") else "detailed"
        for name in (region, block.tier):
            found[name] = found.get(name, Precision()) + own
    return found
