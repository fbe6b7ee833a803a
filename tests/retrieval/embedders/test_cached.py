"""The cached embedder asks for each text once, whatever threads do, and gives the vectors of the embedder inside."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memagent.retrieval.embedders.base import Role, Vectors
from memagent.retrieval.embedders.cached import CachedEmbedder, UserVectors
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store


class Recording(HashEmbedder):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(dimension=16)
        self.batches: list[list[str]] = []

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        self.batches.append(list(texts))
        return super().embed(texts, role=role)


def test_each_text_is_embedded_once_and_the_vectors_are_those_of_the_embedder_inside() -> None:
    inner = Recording()
    cached = CachedEmbedder(inner)
    first = cached.embed(["one", "two", "one"])
    assert np.array_equal(first, HashEmbedder(dimension=16).embed(["one", "two", "one"]))
    assert np.array_equal(cached.embed(["two", "three"])[0], first[1])
    assert inner.batches == [["one", "two"], ["three"]]
    assert (cached.id, cached.dimension) == (inner.id, 16)
    assert cached.embed([]).shape == (0, 16)


def test_one_by_one_never_puts_two_texts_into_one_batch() -> None:
    inner = Recording()
    CachedEmbedder(inner, one_by_one=True).embed(["one", "two", "one"])
    assert inner.batches == [["one"], ["two"]]


def test_a_limit_forgets_the_oldest_texts_but_answers_the_call_at_hand_whole() -> None:
    inner = Recording()
    cached = CachedEmbedder(inner, max_texts=2)
    assert len(cached.embed(["one", "two", "three"])) == 3
    cached.embed(["two", "three"])
    cached.embed(["one"])
    assert inner.batches == [["one", "two", "three"], ["one"]]


@pytest.mark.parametrize("one_by_one", [False, True])
def test_threads_share_the_work(one_by_one: bool) -> None:
    inner = Recording()
    cached = CachedEmbedder(inner, one_by_one=one_by_one)
    texts = [f"text {number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _: cached.embed(texts), range(16)))
    assert all(np.array_equal(one, rows[0]) for one in rows)
    assert sorted(text for batch in inner.batches for text in batch) == sorted(texts)


def test_a_limit_of_new_texts_leaves_the_others_unknown() -> None:
    rows = CachedEmbedder(Recording()).embed_some(["one", "two", "three"], limit=2)
    assert np.isnan(rows).all(axis=1).tolist() == [True, False, False]


def test_stored_vectors_are_read_instead_of_computed_and_are_the_users_own(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        for name in ("ada", "bob"):
            store.memory("rag", user=name).add("hello")
        CachedEmbedder(Recording(), stored=UserVectors(store.backend.database, "ada")).store(["one", "two"], seen=10**9)
        again, bobs = Recording(), Recording()
        CachedEmbedder(again, stored=UserVectors(store.backend.database, "ada")).embed(["one", "two", "three"])
        CachedEmbedder(bobs, stored=UserVectors(store.backend.database, "bob")).embed(["one"])
        assert (again.batches, bobs.batches) == ([["three"]], [["one"]])
        CachedEmbedder(again, stored=UserVectors(store.backend.database, "ada")).embed(["one"], role="query")
        assert again.batches[-1] == ["one"], "a query's vector is not a passage's"
