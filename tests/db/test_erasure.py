"""What is purged leaves no byte in any file of the store, also where the store keeps copies."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from memagent.errors import NotFound, StoreError, StoreLocked
from memagent.retrieval import index
from memagent.retrieval.embedders.base import Role, Vectors
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.contract import files_with
from memagent_renderers.files import atomic_file

SECRET = "Zzyzxbiscuit"


def test_a_purged_session_leaves_no_bytes_and_the_others_stay(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes", session="monday")
        memory.add(f"My dog is called {SECRET}.")
        hidden = memory.add(f"{SECRET} is a beagle.").ids[0]
        memory.delete(hidden)
        memory.add("I live in Lyon.", session="tuesday")
        memory.consolidate()
        assert store.delete_session("monday", purge=True) == 2
        assert files_with(tmp_path, SECRET) == []
        assert [one.name for one in store.sessions()] == ["tuesday"]
        assert [item.text for item in memory.items()] == ["I live in Lyon."]
        with pytest.raises(NotFound, match="monday"):
            store.delete_session("monday", purge=True)


def test_every_text_that_an_item_ever_had_goes(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        (name,) = memory.add(f"My dog is called {SECRET}.").ids
        memory.consolidate()
        memory.update(name, "My dog is called Waffle.")
        memory.consolidate()
        memory.purge(name)
        assert files_with(tmp_path, SECRET) == files_with(tmp_path, "Waffle") == []
        assert memory.stats().vectors == 0


def test_typed_lines_backups_and_pictures_go_with_the_text(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        (name,) = memory.add(f"My dog is called {SECRET}.").ids
        typed = store.backend.history_file("ada")
        typed.parent.mkdir()
        typed.write_text(f"+My dog is called {SECRET}.\n+What is the time?\n")
        for folder in (tmp_path / "backups", store.backend.picture_folder("ada")):
            folder.mkdir(parents=True)
            (folder / "copy").write_text(SECRET)
        memory.purge(name)
        assert files_with(tmp_path, SECRET) == []
        assert typed.read_text() == "+What is the time?\n"


@pytest.mark.parametrize("how", ["item", "session", "everything"])
def test_typed_lines_that_tell_of_the_text_go_and_the_others_stay(tmp_path: Path, how: str) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada", session="monday")
        (name,) = memory.add(f"My pin is {SECRET}, said Quagga.").ids
        memory.update(name, "Meine Geheimzahl ist Löwenmäulchen 猫叫豆豆。")
        typed = store.backend.history_file("ada")
        typed.parent.mkdir()
        gone = [
            f"+/memory add My pin is {SECRET}, said Quagga.",
            f"+//slashed {SECRET} line",
            f"+/memory update m2 the pin is {SECRET.upper()}",
            f"+/memory search {SECRET}",
            "+who is quagga?",
            "+sag mir die geheimzahl",
            "+löwenmäulchen!",
            "+豆豆",
        ]
        kept = ["+What is the time?", "+/memory list", "+/model fake", "+I like tea."]
        typed.write_text(
            "".join(f"\n# 2026-01-01\n{line}\n" for pair in zip(gone, [*kept, *kept], strict=True) for line in pair)
        )
        if how == "session":
            store.delete_session("monday", user="ada", purge=True)
        else:
            memory.purge(None if how == "everything" else name, everything=how == "everything")
        for secret in (SECRET, SECRET.upper(), "Quagga", "quagga", "eheimzahl", "öwenmäulchen", "豆豆"):
            assert files_with(tmp_path, secret) == []
        assert typed.exists() == (how != "everything")
        if typed.exists():
            assert [line for line in typed.read_text().splitlines() if line.startswith("+")] == [*kept, *kept]


@pytest.mark.parametrize("everything", [False, True])
def test_drafts_of_typed_lines_that_a_killed_process_left_go_too(tmp_path: Path, everything: bool) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        (name,) = memory.add(f"My pin is {SECRET}.").ids
        typed = store.backend.history_file("ada")
        typed.parent.mkdir()
        typed.write_text("+What is the time?\n")
        killed = atomic_file(typed)
        draft = killed.__enter__()
        draft.write(f"+My pin is {SECRET}.\n".encode())
        draft.flush()
        assert files_with(typed.parent, SECRET) != []
        memory.purge(None if everything else name, everything=everything)
        assert files_with(tmp_path, SECRET) == []


def _reading(folder: Path) -> sqlite3.Connection:
    """A reader that keeps the write-ahead log from being emptied."""
    connection = sqlite3.connect(folder / "memory.db", isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM messages").fetchone()
    return connection


@pytest.mark.parametrize("how", ["item", "session", "everything"])
@pytest.mark.parametrize("finished_by", ["the same verb", "another purge", "an opening", "a repetition after an opening"])
def test_a_purge_that_a_reader_held_up_is_finished_later(tmp_path: Path, how: str, finished_by: str) -> None:
    store = Store(tmp_path, embedder=HashEmbedder(), timeout=0.2)
    memory = store.memory("rag", session="monday")
    (name,) = memory.add(f"My dog is called {SECRET}.").ids
    (other,) = memory.add("I live in Lyon.", session="tuesday").ids
    memory.consolidate()

    def purge(used: Store) -> None:
        if how == "session":
            used.delete_session("monday", purge=True)
        else:
            used.memory("rag").purge(None if how == "everything" else name, everything=how == "everything")

    reader = _reading(tmp_path)
    with pytest.raises(StoreLocked, match="purge"):
        purge(store)
    assert files_with(tmp_path, SECRET)
    with pytest.raises(StoreLocked, match="purge"):
        purge(store)
    reader.close()
    if finished_by == "the same verb":
        purge(store)
    elif finished_by == "another purge":
        bob = store.memory("rag", user="bob")
        bob.purge(bob.add("x").ids[0])
    else:
        with Store(tmp_path, embedder=HashEmbedder()) as opened:
            if finished_by == "a repetition after an opening":
                purge(opened)
    assert files_with(tmp_path, SECRET) == []
    with Store(tmp_path, embedder=HashEmbedder()) as opened, pytest.raises(NotFound):
        purge(opened)
    if how != "everything":
        assert memory.get(other).text == "I live in Lyon."
    store.close()


def test_a_process_killed_after_the_commit_of_a_purge_leaves_it_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        (name,) = memory.add(f"My dog is called {SECRET}.").ids
        for folder in (tmp_path / "backups", tmp_path / "cache" / "index", store.backend.picture_folder("default")):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "copy").write_text(SECRET)
        index = store.backend.searcher("default").index.path
        index.write_text(SECRET)
        (tmp_path / "cache" / "index" / "copy").unlink()

        def killed(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(type(store.backend), "_finish_purges", killed)
            with pytest.raises(KeyboardInterrupt):
                memory.purge(name)
        assert len(files_with(tmp_path, SECRET)) >= 3
    with Store(tmp_path, embedder=None, read_only=True):
        assert files_with(tmp_path, SECRET)
    with Store(tmp_path, embedder=None):
        assert files_with(tmp_path, SECRET) == []


@pytest.mark.parametrize("kind", ["rag", "notes", "memocr"])
def test_another_process_that_had_the_memory_open_brings_nothing_back(tmp_path: Path, kind: str) -> None:
    idle = Store(tmp_path, embedder=HashEmbedder())
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory, watching = store.memory(kind), idle.memory(kind)
        (name,) = memory.add(f"My dog is called {SECRET}.").ids
        memory.add("I live in Lyon.")
        watching.consolidate()
        assert watching.search(SECRET)
        assert watching.recall("What is my dog called?", budget=60)
        memory.purge(name)
        assert SECRET not in str(watching.items() + watching.messages() + watching.search(SECRET))
        watching.recall("What is my dog called?", budget=60)
    idle.close()
    assert files_with(tmp_path, SECRET) == []
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory(kind)
        memory.consolidate()
        assert memory.stats().vectors <= 1


def test_vectors_of_notes_that_were_purged_meanwhile_are_not_stored(tmp_path: Path) -> None:
    class PurgesMeanwhile(HashEmbedder):
        purge: Callable[[], object] | None = None

        def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
            vectors = super().embed(texts, role=role)
            if self.purge is not None:
                self.purge, purge = None, self.purge
                purge()
            return vectors

    embedder = PurgesMeanwhile()
    with Store(tmp_path, embedder=HashEmbedder()) as other, Store(tmp_path, embedder=embedder) as store:
        memory = store.memory("notes")
        (name,) = memory.add(f"My dog is called {SECRET}.").ids
        embedder.purge = lambda: other.memory("notes").purge(name)
        memory.consolidate()
        assert memory.stats().vectors == 0
        assert files_with(tmp_path, SECRET) == []


def test_a_restored_user_is_purged_with_every_file_of_its_earlier_self(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SNAPSHOT_FROM", 5)
    with Store(tmp_path / "mem", embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        memory.add([f"{SECRET} {number}" for number in range(20)])
        memory.consolidate()
        saved = memory.snapshot(tmp_path / "snapshot.jsonl")
        memory.restore(saved)
        memory.consolidate()
        memory.purge(everything=True)
    assert files_with(tmp_path / "mem", SECRET) == []


@pytest.mark.parametrize("broken", ["file", "read-only"])
def test_a_cache_that_cannot_be_written_costs_a_warning_and_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    monkeypatch.setattr(index, "SNAPSHOT_FROM", 5)
    if broken == "file":
        (tmp_path / "cache").write_text("in the way")
    else:

        def full(*arguments: object, **options: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tempfile, "mkstemp", full)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        for kind in ("rag", "notes", "memocr", "long_context"):
            memory = store.memory(kind)
            ids = memory.add([f"I live in town{number}." for number in range(10)]).ids
            memory.consolidate()
            assert memory.search("town3")
            assert memory.recall("town3", budget=100).cost > 0
            memory.purge(ids[3])
    assert "not kept on disk" in caplog.text
    assert files_with(tmp_path, "town3.") == []


@pytest.mark.parametrize("place", ["cache/index", "backups", "history"])
def test_bytes_that_cannot_be_erased_are_named_and_erased_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        (name,) = memory.add(f"My dog is called {SECRET}.").ids
        paths = {
            "cache/index": store.backend.searcher("default").index.path,
            "backups": tmp_path / "backups" / "copy",
            "history": store.backend.history_file("default"),
        }
        paths[place].parent.mkdir(parents=True, exist_ok=True)
        paths[place].write_text(f"+{SECRET}\n")

        def refused(*arguments: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", refused)
            patched.setattr(Path, "unlink", refused)
            patched.setattr(os, "replace", refused)
            with pytest.raises(StoreError, match="Permission denied"):
                memory.purge(name)
        assert files_with(tmp_path, SECRET)
        memory.purge(name)
        assert files_with(tmp_path, SECRET) == []
