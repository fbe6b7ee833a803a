"""Search for one user: the index, the embedder, and one question at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from memagent.retrieval import fusion
from memagent.retrieval.embedder import Embedder
from memagent.retrieval.index import UserIndex
from memagent.store import log
from memagent.store.sqlite import Database

EMBED_AT_RECALL = 256
"""Most passages that a search embeds before it answers; older ones without a vector are found by their words."""
_WIDER = 4
"""Rows ranked for each message wanted, because a long message has several."""


class Hit(NamedTuple):
    """A passage that answers a question."""

    stored: log.Stored
    start: int
    stop: int
    score: float

    @property
    def text(self) -> str:
        """The passage itself."""
        return self.stored.message.text[self.start : self.stop]


class Searcher:
    """Thread-safe; one is shared by all memories of a user in a process."""

    def __init__(self, database: Database, index: UserIndex, embedder: Callable[[], Embedder | None]) -> None:
        self._database = database
        self._index = index
        self._embedder = embedder

    def passages(
        self, question: str, *, limit: int, session: str | None = None, mode: fusion.Mode = "fused"
    ) -> list[Hit]:
        """The best passages, best first."""
        index = self._index
        with index.lock:
            index.catch_up()
            if not len(index):
                return []
            vector = None
            embedder = self._embedder() if mode != "lexical" else None
            if embedder is not None:
                index.embed_missing(limit=EMBED_AT_RECALL)
                vector = embedder.embed([question])[0]
            ranked = fusion.rank(index, question, vector=vector, limit=limit, session=session, mode=mode)
            found = [(index.unit(row), score) for row, score in ranked]
        with self._database.read() as connection:
            stored = log.read_many(connection, {unit.seq for unit, _ in found})
        return [
            Hit(stored[unit.seq], unit.start, unit.stop, score)
            for unit, score in found
            if unit.seq in stored and stored[unit.seq].alive
        ]

    def search(self, question: str, *, limit: int, session: str | None = None, mode: fusion.Mode = "fused") -> list[Hit]:
        """The best messages, each once, with its best passage."""
        best: dict[int, Hit] = {}
        for hit in self.passages(question, limit=limit * _WIDER, session=session, mode=mode):
            best.setdefault(hit.stored.seq, hit)
        return list(best.values())[:limit]

    def embed(self, *, progress: Callable[[int], None] | None = None) -> int:
        """Embed every passage that has no vector. Returns how many."""
        with self._index.lock:
            self._index.catch_up()
            embedded = self._index.embed_missing(progress=progress)
            self._index.save_snapshot()
            return embedded

    def missing(self) -> int:
        """Passages that no vector was computed for; 0 without an embedder."""
        with self._index.lock:
            self._index.catch_up()
            return self._index.missing()

    def live(self, *, session: str | None = None) -> int:
        """Number of messages that are not forgotten."""
        with self._index.lock:
            self._index.catch_up()
            return self._index.live_messages(session)
