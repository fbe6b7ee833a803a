"""Opening: what is no store of ours is left as it is; files are private; a closed store says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from memagent.db.migrations import SCHEMA_VERSION
from memagent.errors import (
    StoreCorrupt,
    StoreError,
    StoreVersion,
)
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store


def test_the_folder_and_the_file_are_private(tmp_path: Path) -> None:
    with Store(tmp_path / "mem"):
        assert (tmp_path / "mem").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "mem" / "memory.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "memory.db"
    file.write_bytes(b"this is a diary, not a database" * 50)
    with pytest.raises(StoreCorrupt, match="--store"):
        Store(tmp_path)
    assert file.read_bytes().startswith(b"this is a diary")


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "memory.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        Store(tmp_path)


def test_a_store_of_a_newer_version_says_upgrade(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        path = store.backend.database.path
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreVersion, match="pip install -U"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot make the folder"):
        Store(tmp_path / "file" / "store")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.memory("rag").add("hello")


def test_read_only_reads_and_refuses_to_write(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        Store(tmp_path / "none", read_only=True)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        store.memory("rag").add("My dog is called Biscuit.")
    with Store(tmp_path, embedder=HashEmbedder(), read_only=True) as store:
        memory = store.memory("rag")
        assert "Biscuit" in str(memory.recall("dog", budget=50).text)
        with pytest.raises(StoreError, match="read-only"):
            memory.add("more")
