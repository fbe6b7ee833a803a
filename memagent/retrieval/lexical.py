"""BM25 over a growing collection, always current.

Postings are kept per term in growable arrays. Statistics (document frequency, mean length) are taken at query time, so a
document is searchable the moment it is added and nothing is ever re-indexed; libraries that bake scores into a static
matrix would need seconds for that at 100,000 documents. The formula is BM25 with the delta of BM25+ (Lv and Zhai 2011):

    sum over query terms of  idf * (tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length)) + delta)
    idf = ln(1 + (N - df + 0.5) / (df + 0.5))

With delta 0 it equals `bm25s`'s "lucene" method up to the constant factor k1 + 1 (tested).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.growable_array import GrowableArray

Scores = NDArray[np.float32]

COMMON_SHARE = 0.2
COMMON_LEAST = 2_000
"""A term in more than this share of the documents, and in more than this many, is not looked up: it tells hardly anything
(idf under 1.6) and costs the most."""


class LexicalIndex:
    """Documents are numbered from 0 in the order of `add`."""

    def __init__(self, *, k1: float = 1.2, b: float = 0.5, delta: float = 0.5) -> None:
        self.k1, self.b, self.delta = k1, b, delta
        self._documents: dict[str, array[int]] = {}
        self._counts: dict[str, array[int]] = {}
        self._lengths: GrowableArray[np.float32] = GrowableArray(np.float32)

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, terms: Sequence[str], *, parts: Sequence[str] = ()) -> None:
        """Append one document. It is found by `parts` of its words too; they make it no longer."""
        number = len(self._lengths)
        counts = Counter(terms)
        for term, count in (Counter(part for part in parts if part not in counts) + counts).items():
            if term not in self._documents:
                self._documents[term] = array("i")
                self._counts[term] = array("H")
            self._documents[term].append(number)
            self._counts[term].append(min(count, 65535))
        self._lengths.append(len(terms))

    def scores(self, terms: Sequence[str]) -> Scores:
        """BM25 of every document for these distinct terms; 0 where none occurs. Shape (documents,)."""
        return joint_scores(terms, self)

    def group_scores(self, terms: Sequence[str], groups: NDArray[np.int32], *, number: int) -> Scores:
        """BM25 of the documents joined by group (a dialogue session), without delta. Shape (number,).

        `groups` holds the group of each document, shape (documents,).
        """
        lengths = np.bincount(groups, weights=self._lengths.rows, minlength=number).astype(np.float32)
        norm = self._norm(lengths)
        total = np.zeros(number, np.float32)
        for documents, counts in self._postings(terms):
            tf = np.bincount(groups[documents], weights=counts, minlength=number).astype(np.float32)
            total += _idf(int(np.count_nonzero(tf)), number) * tf * (self.k1 + 1) / (tf + norm + 1e-9)
        return total

    def _norm(self, lengths: Scores) -> Scores:
        """What term frequencies are weighed against, for documents of these lengths."""
        mean = max(float(lengths.mean()), 1e-9) if len(lengths) else 1.0
        norm: Scores = self.k1 * (1 - self.b + self.b * lengths / mean)
        return norm

    def _postings(self, terms: Sequence[str]) -> list[tuple[NDArray[np.int32], NDArray[np.uint16]]]:
        common = max(len(self) * COMMON_SHARE, COMMON_LEAST)
        return [
            (np.frombuffer(self._documents[term], np.int32), np.frombuffer(self._counts[term], np.uint16))
            for term in terms
            if term in self._documents and len(self._documents[term]) <= common
        ]

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """The index as arrays, for a snapshot."""
        sizes = np.array([len(documents) for documents in self._documents.values()], np.int64)
        return {
            "terms": np.frombuffer("\n".join(self._documents).encode("utf-8"), np.uint8),
            "sizes": sizes,
            "documents": _joined(list(self._documents.values()), np.dtype(np.int32)),
            "counts": _joined(list(self._counts.values()), np.dtype(np.uint16)),
            "lengths": self._lengths.rows,
        }

    def load(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fill an empty index from `dump`'s arrays."""
        names = bytes(arrays["terms"].tobytes()).decode("utf-8").split("\n")
        documents, counts, start = arrays["documents"], arrays["counts"], 0
        for name, size in zip(names, arrays["sizes"].tolist(), strict=bool(len(arrays["sizes"]))):
            stop = start + size
            self._documents[name] = array("i", documents[start:stop].tobytes())
            self._counts[name] = array("H", counts[start:stop].tobytes())
            start = stop
        self._lengths.extend(arrays["lengths"])


def joint_scores(terms: Sequence[str], *indexes: LexicalIndex) -> Scores:
    """BM25 of the documents of all indexes, one after the other, as of one collection, with the settings of the first.

    So a collection that is kept can be ranked together with documents of the moment. Shape (documents of all,).
    """
    first = indexes[0]
    ends = np.cumsum([0, *map(len, indexes)]).tolist()
    number = ends[-1]
    norm = first._norm(np.concatenate([index._lengths.rows for index in indexes]))
    total = np.zeros(number, np.float32)
    for term in terms:
        found = [
            (documents + start, counts)
            for index, start in zip(indexes, ends, strict=False)
            for documents, counts in index._postings([term])
        ]
        frequency = sum(len(documents) for documents, _ in found)
        for documents, counts in found:
            tf = counts.astype(np.float32)
            total[documents] += _idf(frequency, number) * (tf * (first.k1 + 1) / (tf + norm[documents]) + first.delta)
    return total


def _idf(frequency: int, number: int) -> float:
    return float(np.log(1 + (number - frequency + 0.5) / (frequency + 0.5)))


def _joined(parts: list[array[int]], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    if not parts:
        return np.empty(0, dtype)
    return np.concatenate([np.frombuffer(part, dtype) for part in parts])
