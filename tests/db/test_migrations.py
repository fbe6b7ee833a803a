"""Stores of every released schema open; a migration makes a copy first, and changes nothing when it fails."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from memagent.db import migrations, sqlite
from memagent.errors import (
    StoreError,
)
from memagent.store import Store

STORES = Path(__file__).parents[1] / "data" / "stores"
NEXT = migrations.SCHEMA_VERSION + 1


@pytest.mark.parametrize("fixture", sorted(STORES.glob("*.db")), ids=lambda path: path.stem)
def test_stores_of_every_released_schema_open(fixture: Path, tmp_path: Path) -> None:
    shutil.copy(fixture, tmp_path / "memory.db")
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        assert "Biscuit" in str(memory.recall("What is my dog called?", budget=100).text)
        memory.add("and this is new")
        assert [one.name for one in store.sessions("ada")]


def test_a_backup_is_made_before_a_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path, embedder=None) as store:
        store.memory("rag").add("kept")
    monkeypatch.setitem(migrations.MIGRATIONS, NEXT, lambda connection: connection.execute("CREATE TABLE more (x)"))
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", NEXT)
    with Store(tmp_path, embedder=None) as store:
        assert store.memory("rag").messages()[0].text == "kept"
    (backup,) = (tmp_path / "backups").glob("*.db")
    assert backup.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(backup)
    assert copy.execute("PRAGMA user_version").fetchone()[0] == NEXT - 1
    copy.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        connection.execute("SELECT * FROM nowhere")

    with Store(tmp_path, embedder=None) as store:
        store.memory("rag").add("kept")
    with monkeypatch.context() as patched:
        patched.setitem(migrations.MIGRATIONS, NEXT, broken)
        patched.setattr(sqlite, "SCHEMA_VERSION", NEXT)
        with pytest.raises(StoreError, match="nowhere"):
            Store(tmp_path, embedder=None)
    with Store(tmp_path, embedder=None) as store:
        assert store.memory("rag").messages()[0].text == "kept"
