"""Neighbours are messages, whatever their number of passages; in documents they are passages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from memagent.retrieval.neighbourhood import Neighbourhood
from memagent.store import Store
from memagent.types import Message

LONG = " ".join(f"word{number}" for number in range(400))


def test_a_neighbour_is_the_best_passage_of_the_message_beside(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", content="one"), Message(role="assistant", content=LONG)], session="a")
        memory.add([Message(role="user", content="two"), Message(role="user", content="three")], session="a")
        memory.add(Message(role="user", content="elsewhere"), session="b")
        index = store.backend.searcher("default").index
        index.catch_up()
        rows = np.arange(len(index))
        parts = len(index) - 4
        assert parts > 2
        around = Neighbourhood(index, rows, [-1, 1, -2])
        units = around.best(around.rows.astype(np.float32) + 1)  # the value of a row is its number, from 1
        last = 1 + parts  # value of the last passage of the long message
        assert around.at(-1, units).tolist() == [0, *[1] * parts, last, last + 1, 0]
        assert around.at(1, units).tolist() == [last, *[last + 1] * parts, last + 2, 0, 0]
        assert around.at(-2, units).tolist() == [0, *[0] * parts, 1, last, 0]


def test_passages_of_documents_have_those_of_their_own_beside_them(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", speaker="Book", content=LONG), Message(role="user", speaker="Book", content=LONG)])
        index = store.backend.searcher("default").index
        index.catch_up()
        rows = np.arange(len(index))
        half = len(rows) // 2
        around = Neighbourhood(index, rows, [-1])
        found = around.at(-1, around.best(around.rows.astype(np.float32) + 1)).tolist()
        assert found == [0, *range(1, half), 0, *range(half + 1, 2 * half)]
