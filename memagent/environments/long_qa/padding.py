"""Long contexts out of short ones: a question's own documents among those of other questions.

Form and order follow the published evaluation of MemOCR (arXiv 2601.21468; specification, section 3.6), but for one flaw:
it shuffles every question alike, so that the own documents always stand in the same places. Here each (question, seed)
has a shuffle and a padding of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memagent.environments.long_qa.cases import Case, Document

Count = Callable[[str], int]
"""Text tokens of a text."""


@dataclass(frozen=True)
class Context:
    """What a memory is to be made of."""

    documents: tuple[Document, ...]
    evidence: tuple[tuple[int, int], ...]
    """(place in `documents`, place in its sentences) of each supporting sentence."""
    tokens: int
    """Text tokens, counted document by document."""

    @property
    def text(self) -> str:
        """The documents, numbered from 1, a blank line between two."""
        return "\n\n".join(written(document, number) for number, document in enumerate(self.documents, 1))


def written(document: Document, number: int) -> str:
    """A document as it stands in a context."""
    return f"Document {number}:\n{document.title}\n{document.text}"


def padded(case: Case, pool: Sequence[Document], *, tokens: int, seed: int, count: Count) -> Context:
    """The own documents of `case` and as many others, drawn from `pool`, as keep the context within `tokens` text tokens.

    It ends less than one document short of `tokens`, earlier only where `pool` is used up, and is longer only where the
    own documents are. Documents with the title of an own one are not drawn. Same arguments, same context.
    """
    draw = random.Random(f"{seed}:{case.id}")
    own = {document.title for document in case.documents}
    others = [document for document in pool if document.title not in own]
    draw.shuffle(others)
    chosen = [(document, place) for place, document in enumerate(case.documents)]
    used = sum(_size(document, count) for document in case.documents)
    for document in others:
        size = _size(document, count)
        if used + size > tokens:
            break
        used += size
        chosen.append((document, -1))
    draw.shuffle(chosen)
    place_of = {before: place for place, (_, before) in enumerate(chosen) if before >= 0}
    evidence = tuple((place_of[place], at) for place, at in case.evidence)
    return Context(tuple(document for document, _ in chosen), evidence, used)


def _size(document: Document, count: Count) -> int:
    """Tokens of a document in a context, the blank line behind it included; numbers are taken to have three digits."""
    return count(written(document, 100)) + 1
