"""`memagent bench store`: how long a chat waits for its memory.

A store of made-up messages is filled, opened anew, and then used as a chat uses it: write one message, recall, in turn;
then messages are given another text and searched for at once.
The hash embedder stands in for a model, so that the store's own time is seen; what embedding the question takes is
measured inside the calls and taken off. A bare SQLite commit with full sync is measured beside it. The import share runs
with the installed embedder: the throughput of importing and embedding over that of embedding alone.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memagent.evaluation.metrics import percentile
from memagent.evaluation.report import Report, Row, machine_facts
from memagent.evaluation.runner import SILENT, Progress
from memagent.retrieval.embedders.base import Embedder, Role, Vectors
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.retrieval.embedders.registry import load_embedder
from memagent.store import Store
from memagent.types import Message
from memagent_renderers.budget import Budget

_BUDGET = 256
_USER = "bench"
EDITS = 50
"""Messages that are given another text."""
_SYLLABLES = [consonant + "aeiou"[place % 5] for place, consonant in enumerate("bcdfghjklmnprstvwxyz")]


def made_up_texts(number: int, *, seed: int = 0) -> list[str]:
    """Messages of 5 to 30 made-up words whose frequencies fall as those of a language do."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(_SYLLABLES, size=random.integers(1, 5))) for _ in range(20_000)]
    lengths = random.integers(5, 30, number)
    ranks = np.minimum(random.zipf(1.2, int(lengths.sum())), len(words)) - 1
    texts, start = [], 0
    for length in lengths.tolist():
        texts.append(" ".join(words[rank] for rank in ranks[start : start + length]))
        start += length
    return texts


class _Timed:
    """An embedder that keeps count of the seconds spent on one text: the question."""

    def __init__(self, inner: Embedder) -> None:
        self.inner, self.id, self.dimension = inner, inner.id, inner.dimension
        self.seconds = 0.0

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        began = time.perf_counter()
        vectors = self.inner.embed(texts, role=role)
        self.seconds += time.perf_counter() - began
        return vectors


def run(
    *,
    sizes: Sequence[int] = (10_000, 100_000),
    turns: int = 300,
    import_texts: int = 1_000,
    embedder: str | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Report:
    """Measure at each number of items. `embedder` names the one of the import share; None leaves that out."""
    rows: list[Row] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            progress.say(f"filling a store with {size:,} messages")
            rows += _at_size(Path(folder), size, turns, seed, progress)
    with tempfile.TemporaryDirectory() as folder:
        rows.append(_bare_commit(Path(folder), turns))
    if embedder is not None:
        progress.say(f"importing {import_texts:,} messages with {embedder}")
        rows.append(_import_share(load_embedder(embedder), import_texts, seed))
    meta = {"turns": turns, "budget": _BUDGET, "seed": seed, "import_embedder": embedder, **machine_facts()}
    return Report(name="store", rows=rows, meta=meta)


def _at_size(folder: Path, size: int, turns: int, seed: int, progress: Progress) -> list[Row]:
    texts = made_up_texts(size + 2 * turns + 1, seed=seed)
    with Store(folder, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user=_USER)
        for start in range(0, size, 1_000):
            memory.add([Message(role="user", content=text) for text in texts[start : min(start + 1_000, size)]])
        memory.consolidate()
    progress.say("opening it")
    embedder = _Timed(HashEmbedder())
    began = time.perf_counter()
    with Store(folder, embedder=embedder) as store:
        memory = store.memory("rag", user=_USER)
        memory.recall(texts[-1], budget=_BUDGET)
        opened = time.perf_counter() - began - embedder.seconds
        progress.say(f"writing and recalling {turns} times in turn")
        added, recalled, edited = [], [], []
        written = []
        for said, asked in zip(texts[size : size + turns], texts[size + turns :], strict=False):
            began = time.perf_counter()
            written.append(memory.add(said).outcomes[0].id)
            added.append((time.perf_counter() - began) * 1e3)
            embedder.seconds, began = 0.0, time.perf_counter()
            recall = memory.recall(asked, budget=Budget(_BUDGET))
            recalled.append((time.perf_counter() - began - embedder.seconds) * 1e3)
            assert recall.cost <= _BUDGET
        progress.say(f"editing and searching {len(written[:EDITS])} times in turn")
        for number, id in enumerate(written[:EDITS]):
            text = f"edited {number} {texts[number]}"
            embedder.seconds, began = 0.0, time.perf_counter()
            memory.update(id, text)
            found = memory.search(text, limit=1)
            edited.append((time.perf_counter() - began - embedder.seconds) * 1e3)
            assert found[0].item.text == text
    return [
        Row(method="sqlite", metric="add_p50_ms", at=size, value=percentile(added, 50), n=turns),
        Row(method="sqlite", metric="add_p95_ms", at=size, value=percentile(added, 95), n=turns),
        Row(method="sqlite", metric="recall_overhead_p50_ms", at=size, value=percentile(recalled, 50), n=turns),
        Row(method="sqlite", metric="recall_overhead_p95_ms", at=size, value=percentile(recalled, 95), n=turns),
        Row(method="sqlite", metric="edit_then_search_ms", at=size, value=percentile(edited, 50), n=len(edited)),
        Row(method="sqlite", metric="open_ms", at=size, value=opened * 1e3),
    ]


def _bare_commit(folder: Path, times: int) -> Row:
    """The floor: one INSERT and a commit with full sync."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (body TEXT)")
        taken = []
        for number in range(times):
            began = time.perf_counter()
            connection.execute("INSERT INTO t VALUES (?)", (f"message {number}",))
            taken.append((time.perf_counter() - began) * 1e3)
    finally:
        connection.close()
    return Row(method="bare_commit", metric="add_p95_ms", value=percentile(taken, 95), n=times)


def _import_share(embedder: Embedder, number: int, seed: int) -> Row:
    texts = made_up_texts(number, seed=seed + 1)
    embedder.embed(texts[:8])
    timed = _Timed(embedder)
    with tempfile.TemporaryDirectory() as folder, Store(folder, embedder=timed) as store:
        began = time.perf_counter()
        memory = store.memory("rag", user=_USER)
        memory.add([Message(role="user", content=text) for text in texts], origin="imported")
        memory.consolidate()
        whole = time.perf_counter() - began
    return Row(method="sqlite", metric="import_share_of_embedder", value=timed.seconds / whole, n=number)
