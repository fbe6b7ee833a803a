"""What was acknowledged is on the disk, whatever fails: a statement, a process, a thousand writers."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import Writer

from memagent.db.sqlite import Database
from memagent.errors import (
    StoreError,
)
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store


class Faulty(sqlite3.Connection):
    """Fails at the statement whose turn has come."""

    left = -1
    fired = False

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:  # type: ignore[override]
        if Faulty.left == 0 and not sql.startswith(("ROLLBACK", "PRAGMA")):
            Faulty.fired = True
            raise sqlite3.OperationalError("disk I/O error")
        Faulty.left -= 1
        return super().execute(sql, *arguments)


VERBS = {
    "add": lambda memory: memory.add("one"),
    "update": lambda memory: memory.update("m1", "changed"),
    "delete": lambda memory: memory.delete("m1"),
    "undo": lambda memory: memory.undo(),
    "purge": lambda memory: memory.purge("m1"),
    "consolidate": lambda memory: memory.consolidate(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_fault_at_any_step_of_a_write_leaves_all_or_nothing(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "connection_class", Faulty)

    def state(store: Store) -> object:
        memory = store.memory("rag", user="ada")
        return memory.messages(), memory.history()

    for step in range(60):
        folder = tmp_path / str(step)
        Faulty.left = -1
        with Store(folder, embedder=HashEmbedder()) as store:
            memory = store.memory("rag", user="ada")
            memory.remember("first")
            memory.add("second")
            before = state(store)
            Faulty.left, Faulty.fired = step, False
            failed = False
            try:
                VERBS[verb](memory)
            except StoreError:
                failed = True
            ended_before = Faulty.left > 0
            Faulty.left = -1
            after = state(store)
        assert failed == Faulty.fired
        with Store(folder, embedder=HashEmbedder()) as again:
            assert state(again) == after
        if verb != "purge":  # whose files go after its commit
            assert not failed or after == before
        if ended_before:
            return
    pytest.fail("the verb has more than 60 steps")


@pytest.mark.slow
def test_two_hundred_kills_lose_no_receipt(tmp_path: Path) -> None:
    promised: set[str] = set()
    for number in range(200):
        writer = Writer(tmp_path, f"writer{number}", 100_000)
        promised.add(writer.receipts.recv())
        time.sleep((number % 20) / 1000)
        writer.process.kill()
        promised |= writer.end(timeout=60)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")
        readable = {message.id for message in memory.messages()}
        assert promised <= readable
        assert len(promised) >= 200
        memory.consolidate()
        assert memory.pending_count() == 0
        for number in (0, 99, 199):  # what was said right after it is nearly the same, so not always first
            assert f"writer{number} says 0" in [hit.item.text for hit in memory.search(f"writer{number} says 0", limit=5)]
        memory.add("The keeper of the lighthouse is Ingrid.")
        assert "Ingrid" in memory.search("Who keeps the lighthouse?", limit=1)[0].item.text
