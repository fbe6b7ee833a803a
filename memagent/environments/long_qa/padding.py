"""Long contexts out of short ones: a question's own documents among those of other questions.

Form and order follow the published evaluation of MemOCR (arXiv 2601.21468), but for one flaw:
it shuffles every question alike, so that the own documents always stand in the same places. Here each (question, seed)
has an order and a padding of its own. Contexts of one question and seed are nested, as those of RULER-HQA are: a longer one
is a shorter one with more documents between.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.errors import InputError
from memagent.evaluation.token_counts import Count

PUBLISHED = {"10K": 50, "30K": 200, "100K": 800}
"""Documents of the published context lengths, by their names there."""


@dataclass(frozen=True)
class Context:
    """What a memory is to be made of."""

    documents: tuple[Document, ...]
    evidence: tuple[tuple[int, int], ...]
    """(place in `documents`, place in its sentences) of each supporting sentence."""
    tokens: int
    """Text tokens, counted document by document."""
    support: tuple[int, ...] = ()
    """Places in `documents` of those that support the answer."""
    complete: bool = True
    """Whether it is as long as asked; False where the pool was used up before."""

    @property
    def text(self) -> str:
        """The documents, numbered from 1, a blank line between two."""
        return "\n\n".join(format_document(document, number) for number, document in enumerate(self.documents, 1))


def format_document(document: Document, number: int) -> str:
    """A document as it stands in a context."""
    return f"Document {number}:\n{document.title}\n{document.text}"


def padded(
    case: QAExample,
    pool: Sequence[Document],
    *,
    seed: int,
    count: Count,
    tokens: int | None = None,
    documents: int | None = None,
) -> Context:
    """The own documents of `case` among others, drawn from `pool`: as many as keep it within `tokens`, or make `documents`.

    Within `tokens` text tokens it ends less than one document short of them. Either way it is shorter only where `pool` is used
    up, which `Context.complete` tells, and longer only where the own documents are. Documents with a name (title or mention) of
    an own one are not drawn. Same arguments, same context. Raises `InputError` unless one length, 1 or more, is given.
    """
    if (tokens is None) == (documents is None) or (tokens or documents or 0) < 1:
        raise InputError(f"a context is 1 or more `tokens` or 1 or more `documents` long, not {tokens} and {documents}")
    most_tokens, most_documents = tokens or math.inf, documents or math.inf
    chosen = [(document, place) for place, document in enumerate(case.documents)]
    used = sum(_size(document, count) for document in case.documents)
    full = False
    for document in _others(case, pool, random.Random(f"{seed}:{case.id}")):
        size = _size(document, count)
        full = used + size > most_tokens or len(chosen) >= most_documents
        if full:
            break
        used += size
        chosen.append((document, -1))
    draw = random.Random(f"{seed}:{case.id}:order")
    places = [draw.random() for _ in chosen]  # each a place of its own between 0 and 1, whatever is added later
    ordered = [chosen[number] for number in sorted(range(len(chosen)), key=places.__getitem__)]
    place_of = {before: place for place, (_, before) in enumerate(ordered) if before >= 0}
    return Context(
        tuple(document for document, _ in ordered),
        tuple((place_of[place], at) for place, at in case.evidence),
        used,
        tuple(place_of[place] for place in case.support),
        full or used >= most_tokens or len(chosen) >= most_documents,
    )


def _others(case: QAExample, pool: Sequence[Document], draw: random.Random) -> list[Document]:
    """The documents of `pool` without a name of an own one, in the order in which they are drawn."""
    own = frozenset(name for document in case.documents for name in document.names)
    others = [document for document in pool if document.title not in own and own.isdisjoint(document.mentions)]
    draw.shuffle(others)
    return others


def _size(document: Document, count: Count) -> int:
    """Tokens of a document in a context, the blank line behind it included; numbers are taken to have three digits."""
    return count(format_document(document, 100)) + 1
