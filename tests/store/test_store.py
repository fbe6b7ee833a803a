"""The store keeps what it acknowledged, under faults, kills, crowds and upgrades."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memagent.db.migrations import SCHEMA_VERSION
from memagent.db.sqlite import Database
from memagent.errors import (
    EmbedderMismatch,
    InputError,
    MemAgentError,
    NotFound,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreVersion,
)
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.types import ImagePart, Message, user_message

STORES = Path(__file__).parents[1] / "data" / "stores"


def spawn(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


WRITER = """
import sys
from memagent.store import Store
with Store(sys.argv[1], embedder=None) as store:
    memory = store.memory("rag", user="ada", session=sys.argv[2])
    for number in range(int(sys.argv[3])):
        print(memory.add(f"{sys.argv[2]} says {number}").ids[0], flush=True)
"""


def test_the_folder_and_the_file_are_private(tmp_path: Path) -> None:
    with Store(tmp_path / "mem"):
        assert (tmp_path / "mem").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "mem" / "memory.db").stat().st_mode & 0o777 == 0o600


def test_a_message_with_a_picture_comes_back_whole(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add(user_message("what is this?", ImagePart(data=b"\x89PNG")))
        (message,) = memory.messages()
        assert message.images[0].data == b"\x89PNG"
        assert message.text == "what is this?"


def test_the_same_text_is_stored_once(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", content="again and again")] * 5)
        assert len(memory.messages()) == 5
        with store.backend.database.read() as connection:
            assert connection.execute("SELECT count(*) FROM contents").fetchone()[0] == 1


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
    "observe": lambda memory: memory.add(["one", "two"][0]),
    "edit": lambda memory: memory.update("m1", "changed"),
    "forget": lambda memory: memory.delete("m1"),
    "undo": lambda memory: memory.undo(),
    "purge": lambda memory: memory.purge("m1"),
    "flush": lambda memory: memory.consolidate(),
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
def test_eight_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None):
        pass
    writers = [spawn(WRITER, str(tmp_path), f"writer{number}", "200") for number in range(8)]
    for writer in writers:
        _, complaint = writer.communicate(timeout=240)
        assert writer.returncode == 0, complaint
    with Store(tmp_path, embedder=None) as store:
        messages = store.memory("rag", user="ada").messages()
    assert len(messages) == 1600
    assert len({message.text for message in messages}) == 1600


@pytest.mark.slow
def test_two_hundred_kills_lose_no_receipt(tmp_path: Path) -> None:
    promised: set[str] = set()
    for number in range(200):
        writer = spawn(WRITER, str(tmp_path), f"writer{number}", "100000")
        assert writer.stdout is not None
        promised.add(writer.stdout.readline().strip())
        time.sleep((number % 20) / 1000)
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=60)
        promised.update(line for line in rest.splitlines(keepends=True) if line.endswith("\n"))
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")
        readable = {message.id for message in memory.messages()}
        assert {name.strip() for name in promised} <= readable
        memory.consolidate()
        assert memory.pending_count() == 0
        assert memory.search("writer199 says 0", limit=1)[0].item.text == "writer199 says 0"


def test_a_small_crowd_of_processes_writes_at_once(tmp_path: Path) -> None:
    writers = [spawn(WRITER, str(tmp_path), f"writer{number}", "20") for number in range(3)]
    for writer in writers:
        _, complaint = writer.communicate(timeout=120)
        assert writer.returncode == 0, complaint
    with Store(tmp_path, embedder=None) as store:
        assert len(store.memory("rag", user="ada").messages()) == 60


def test_a_held_lock_is_reported_after_the_timeout(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None, timeout=0.2) as store:
        other = sqlite3.connect(store.backend.database.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked, match=r"0\.2 s"):
            store.memory("rag").add("hello")
        other.execute("ROLLBACK")
        other.close()
        store.memory("rag").add("hello")


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


def test_another_embedder_is_one_clear_error_and_reindex_mends_it(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder(dimension=64)) as store:
        memory = store.memory("rag")
        memory.add("My dog is called Biscuit.")
        memory.consolidate()
    with pytest.raises(EmbedderMismatch, match=r"hash:64.*hash:128.*memagent memory reindex --embedder hash:128"):
        Store(tmp_path, embedder=HashEmbedder(dimension=128))
    with Store(tmp_path) as store:
        assert store.reindex(embedder=HashEmbedder(dimension=128)) == 1
    with Store(tmp_path, embedder=HashEmbedder(dimension=128)) as store:
        assert store.embedder_id == "hash:128"
        assert store.memory("rag").pending_count() == 0


def test_an_embedder_that_is_not_installed_leaves_search_by_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from memagent.errors import MissingExtra
    from memagent.retrieval.embedders import registry

    with Store(tmp_path, embedder=HashEmbedder()) as store:
        store.memory("rag").add("My dog is called Biscuit.")
        store.memory("rag").consolidate()

    def absent(name: str) -> object:
        raise MissingExtra(name, "pip install it")

    monkeypatch.setattr(registry, "load_embedder", absent)
    with Store(tmp_path) as store:
        assert store.memory("rag").search("dog")[0].item.text == "My dog is called Biscuit."
    assert "by words only" in caplog.text


@pytest.mark.parametrize("name", ["", " ", "a" * 201, "line\nbreak", "null\x00"])
def test_names_of_users_and_sessions_are_checked(tmp_path: Path, name: str) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(InputError, match="printable name"):
            store.memory("rag", user=name)
        with pytest.raises(InputError, match="printable name"):
            store.memory("rag").add("hello", session=name)


def test_an_unknown_kind_of_memory_suggests_the_nearest(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(MemAgentError, match="'long_context'"):
        store.memory("long_contxt")


def test_sessions_are_listed_and_forgotten(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", session="monday")
        memory.add("My dog is called Biscuit.")
        memory.add("I live in Lyon.", session="tuesday")
        assert [(one.name, one.messages) for one in store.sessions()] == [("tuesday", 1), ("monday", 1)]
        assert store.delete_session("monday") == 1
        assert [one.name for one in store.sessions()] == ["tuesday"]
        with pytest.raises(NotFound, match="monday"):
            store.delete_session("monday")


def test_a_large_index_is_taken_from_its_snapshot_and_still_sees_what_came_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memagent.retrieval import index

    monkeypatch.setattr(index, "SNAPSHOT_FROM", 10)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        names = [memory.add(f"fact {number} about topic{number}").ids[0] for number in range(30)]
        memory.consolidate()
    files = list((tmp_path / "cache" / "index").glob("*.npz"))
    assert len(files) == 1
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        memory.add("fact 31 about walruses")
        memory.delete(names[7])
        assert memory.search("walruses")[0].item.text == "fact 31 about walruses"
        assert all(found.item.id != names[7] for found in memory.search("topic7"))
        fresh = [(found.item.id, round(found.score, 4)) for found in memory.search("topic9 topic3")]
    shutil.rmtree(tmp_path / "cache")
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        rebuilt = [(one.item.id, round(one.score, 4)) for one in store.memory("rag").search("topic9 topic3")]
        assert rebuilt == fresh
    (tmp_path / "cache" / "index").mkdir(parents=True, exist_ok=True)
    files[0].write_bytes(b"torn")
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        assert store.memory("rag").search("walruses")


@pytest.mark.parametrize("fixture", sorted(STORES.glob("*.db")), ids=lambda path: path.stem)
def test_stores_of_every_released_schema_open(fixture: Path, tmp_path: Path) -> None:
    shutil.copy(fixture, tmp_path / "memory.db")
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        assert "Biscuit" in str(memory.recall("What is my dog called?", budget=100).text)
        memory.add("and this is new")
        assert [one.name for one in store.sessions("ada")]


def test_a_backup_is_made_before_a_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent.db import migrations, sqlite

    with Store(tmp_path, embedder=None) as store:
        store.memory("rag").add("kept")
    monkeypatch.setitem(migrations.MIGRATIONS, 2, lambda connection: connection.execute("CREATE TABLE more (x)"))
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 2)
    with Store(tmp_path, embedder=None) as store:
        assert store.memory("rag").messages()[0].text == "kept"
    (backup,) = (tmp_path / "backups").glob("*.db")
    assert backup.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(backup)
    assert copy.execute("PRAGMA user_version").fetchone()[0] == 1
    copy.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent.db import migrations, sqlite

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        connection.execute("SELECT * FROM nowhere")

    with Store(tmp_path, embedder=None) as store:
        store.memory("rag").add("kept")
    with monkeypatch.context() as patched:
        patched.setitem(migrations.MIGRATIONS, 2, broken)
        patched.setattr(sqlite, "SCHEMA_VERSION", 2)
        with pytest.raises(StoreError, match="nowhere"):
            Store(tmp_path, embedder=None)
    with Store(tmp_path, embedder=None) as store:
        assert store.memory("rag").messages()[0].text == "kept"
