"""BM25 over a growing collection, always current.

Postings are kept per term in growable arrays. Statistics (document frequency, mean length) are taken at query time, so a
document is searchable the moment it is added, gone the moment it is removed, and nothing is ever re-indexed; libraries
that bake scores into a static matrix would need seconds for that at 100,000 documents. The terms of each document are kept
too, because whoever removes one may no longer have its text. The formula is BM25 with the delta of BM25+ (Lv and Zhai 2011):

    sum over query terms of  idf * (tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length)) + delta)
    idf = ln(1 + (N - df + 0.5) / (df + 0.5))

With delta 0 it equals `bm25s`'s "lucene" method up to the constant factor k1 + 1 (tested).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.growable_array import GrowableArray

Scores = NDArray[np.float32]
S = TypeVar("S", bound=np.generic)

COMMON_SHARE = 0.2
COMMON_LEAST = 2_000
"""A term in more than this share of the documents, and in more than this many, is not looked up: it tells hardly anything
(idf under 1.6) and costs the most."""


class LexicalIndex:
    """Documents are numbered from 0 in the order of `add`; a removed one leaves its number empty."""

    def __init__(self, *, k1: float = 1.2, b: float = 0.5, delta: float = 0.5) -> None:
        self.k1, self.b, self.delta = k1, b, delta
        self._numbers: dict[str, int] = {}  # of terms
        self._documents: list[array[int]] = []  # by number of the term, ascending
        self._counts: list[array[int]] = []
        self._lengths: GrowableArray[np.float32] = GrowableArray(np.float32)
        self._held: GrowableArray[np.int32] = GrowableArray(np.int32)  # distinct terms of each document, end to end
        self._ends: GrowableArray[np.int64] = GrowableArray(np.int64)  # of each document's terms in `_held`
        self._removed = 0
        self._words = 0  # the sum of lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, terms: Sequence[str], *, parts: Sequence[str] = ()) -> None:
        """Append one document. It is found by `parts` of its words too; they make it no longer."""
        number = len(self._lengths)
        counts = Counter(terms)
        for term, count in (Counter(part for part in parts if part not in counts) + counts).items():
            known = self._numbers.setdefault(term, len(self._numbers))
            if known == len(self._documents):
                self._documents.append(array("i"))
                self._counts.append(array("H"))
            self._documents[known].append(number)
            self._counts[known].append(min(count, 65535))
            self._held.append(known)
        self._ends.append(len(self._held))
        self._lengths.append(len(terms))
        self._words += len(terms)

    def remove(self, number: int) -> None:
        """Empty one document, which has not been removed before."""
        start, stop = (int(self._ends.rows[number - 1]) if number else 0), int(self._ends.rows[number])
        for term in self._held.rows[start:stop].tolist():
            place = bisect_left(self._documents[term], number)
            del self._documents[term][place], self._counts[term][place]
        self._words -= int(self._lengths.rows[number])
        self._lengths.rows[number] = 0
        self._removed += 1

    def scores(self, terms: Sequence[str], *, of: LexicalIndex | None = None) -> Scores:
        """BM25 of every document for these distinct terms, 0 where none occurs; as some `of` a larger collection, if one is
        named.
        """
        return joint_scores(terms, self, of=of)

    def group_scores(self, terms: Sequence[str], groups: NDArray[np.int32], *, number: int) -> Scores:
        """BM25 of the documents joined by group (a dialogue session), without delta. Shape (number,).

        `groups` holds the group of each document, shape (documents,).
        """
        lengths = np.bincount(groups, weights=self._lengths.rows, minlength=number).astype(np.float32)
        filled = max(1, int(np.count_nonzero(lengths)))
        norm = self._norm(lengths, float(lengths.sum(dtype=np.float64)) / filled)
        total = np.zeros(number, np.float32)
        for documents, counts in filter(None, map(self._posting, self._frequencies(terms))):
            tf = np.bincount(groups[documents], weights=counts, minlength=number).astype(np.float32)
            total += _idf(int(np.count_nonzero(tf)), filled) * tf * (self.k1 + 1) / (tf + norm + 1e-9)
        return total

    def _norm(self, lengths: Scores, mean: float) -> Scores:
        """What term frequencies are weighed against, for documents of these lengths; `mean` is that of all."""
        norm: Scores = self.k1 * (1 - self.b + self.b * lengths / np.float32(max(mean, 1e-9)))
        return norm

    def _frequencies(self, terms: Sequence[str]) -> dict[str, int]:
        """How many documents hold each term, in the order of the terms; without those of none, or of too many."""
        most, found = max(len(self) * COMMON_SHARE, COMMON_LEAST), {}
        for term in terms:
            number = self._numbers.get(term)
            if number is not None and 0 < (held := len(self._documents[number])) <= most:
                found[term] = held
        return found

    def _posting(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.uint16]] | None:
        """The documents that hold a term, and how often; None where none does."""
        number = self._numbers.get(term)
        if number is None or not self._documents[number]:
            return None
        return np.frombuffer(self._documents[number], np.int32), np.frombuffer(self._counts[number], np.uint16)

    def dump(self, order: NDArray[np.int64] | None = None) -> dict[str, NDArray[np.generic]]:
        """The index as arrays, for a snapshot, without the terms that only removed documents had.

        `order` names the documents to keep in the order in which they are to be numbered; removed ones must not be among them.
        """
        kept = np.arange(len(self)) if order is None else order
        renumbered = np.full(len(self), -1, np.int32)
        renumbered[kept] = np.arange(len(kept), dtype=np.int32)
        names = [term for term, number in self._numbers.items() if len(self._documents[number])]
        postings = [self._documents[self._numbers[term]] for term in names]
        sizes = np.array([len(documents) for documents in postings], np.int64)
        documents = renumbered[_joined(postings, np.int32)]
        counts = _joined([self._counts[self._numbers[term]] for term in names], np.uint16)
        terms = np.repeat(np.arange(len(names), dtype=np.int32), sizes)
        if (np.diff(kept) < 0).any():
            sorted_again = np.lexsort((documents, terms))
            documents, counts = documents[sorted_again], counts[sorted_again]
        return {
            "terms": np.frombuffer("\n".join(names).encode("utf-8"), np.uint8),
            "sizes": sizes,
            "documents": documents,
            "counts": counts,
            "lengths": self._lengths.rows[kept],
            "held": terms[np.argsort(documents, kind="stable")],
            "ends": np.cumsum(np.bincount(documents, minlength=len(kept))),
        }

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Fill an empty index from `dump`'s arrays."""
        names = bytes(arrays["terms"].tobytes()).decode("utf-8").split("\n")
        documents, counts, start = arrays["documents"], arrays["counts"], 0
        for name, size in zip(names, arrays["sizes"].tolist(), strict=bool(len(arrays["sizes"]))):
            stop = start + size
            self._numbers[name] = len(self._documents)
            self._documents.append(array("i", documents[start:stop].tobytes()))
            self._counts.append(array("H", counts[start:stop].tobytes()))
            start = stop
        self._lengths.extend(arrays["lengths"])
        self._words = int(arrays["lengths"].sum(dtype=np.float64))
        self._held.extend(arrays["held"])
        self._ends.extend(arrays["ends"])


def joint_scores(terms: Sequence[str], *indexes: LexicalIndex, of: LexicalIndex | None = None) -> Scores:
    """BM25 of the documents of all indexes, one after the other, as of one collection, with the settings of the first.

    So a collection that is kept can be ranked together with documents of the moment. Shape (documents of all,). `of` is a
    collection of which they are some documents: how rare a term is and how long a document is goes by that one.
    """
    first, whole = indexes[0], indexes if of is None else (of,)
    starts = [0, *accumulate(map(len, indexes))]
    number = sum(len(index) - index._removed for index in whole)
    telling = [index._frequencies(terms) for index in whole]
    frequency = Counter[str]()
    for known in telling:
        frequency.update(known)
    found = [
        (term, *posting, start)
        for index, start, known in zip(indexes, starts, telling if of is None else telling * len(indexes), strict=False)
        for term in known
        if (posting := index._posting(term))
    ]
    if not found:
        return np.zeros(starts[-1], np.float32)
    held = np.concatenate([documents + start if start else documents for _, documents, _, start in found])
    tf = np.concatenate([counts for _, _, counts, _ in found]).astype(np.float32)
    weights = np.array([_idf(frequency[term], number) for term, *_ in found], np.float32)
    idf = np.repeat(weights, [len(documents) for _, documents, *_ in found])
    lengths = first._lengths.rows if len(indexes) == 1 else np.concatenate([index._lengths.rows for index in indexes])
    norm = first._norm(lengths[held], sum(index._words for index in whole) / max(number, 1))
    values = idf * (tf * (first.k1 + 1) / (tf + norm) + first.delta)
    return np.bincount(held, values, minlength=starts[-1]).astype(np.float32)


def _idf(frequency: int, number: int) -> float:
    return math.log(1 + (number - frequency + 0.5) / (frequency + 0.5))


def _joined(parts: list[array[int]], dtype: type[S]) -> NDArray[S]:
    if not parts:
        return np.empty(0, dtype)
    return np.concatenate([np.frombuffer(part, dtype) for part in parts])
