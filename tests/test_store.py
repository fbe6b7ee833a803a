"""The store's own verbs: memories by kind, sessions, the embedder, index snapshots."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import (
    EmbedderMismatch,
    InputError,
    MemAgentError,
    MissingExtra,
    NotFound,
    StoreCorrupt,
    UnknownName,
)
from memagent.memory import backend, base
from memagent.memory.rag import RagMemory
from memagent.models.fake import FakeModel
from memagent.retrieval import index
from memagent.retrieval.embedders import registry
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store


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


class Closing(FakeModel):
    """Counts how often it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_model_given_by_name_is_loaded_and_closed_with_the_memory_or_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: dict[str, Closing] = {}
    monkeypatch.setattr(base, "load_model", lambda name: loaded.setdefault(name, Closing()))
    with Store(tmp_path, embedder=None) as store:
        own = Closing()
        with store.memory("notes", model="one") as memory:
            assert memory.model is loaded["one"]
        assert loaded["one"].closed
        kept = store.memory("notes", model="two")
        store.memory("notes", model=own).close()
        assert kept.model is loaded["two"]
        assert not loaded["two"].closed
    assert loaded["two"].closed
    assert not own.closed


def test_a_named_model_writes_notes(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("notes", model="fake")
        memory.add("My dog is called Biscuit.")
        memory.consolidate()
        assert memory.pending_count() == 0
        with pytest.raises(UnknownName, match="did you mean `fake`"):
            store.memory("notes", model="fakee")


@pytest.mark.parametrize(
    ("kind", "option", "nearest"),
    [
        ("rag", "usr", "user"),
        ("long_context", "stratgy", "strategy"),
        ("notes", "stile", "style"),
        ("memocr", "draftr", "drafter"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(tmp_path: Path, kind: str, option: str, nearest: str) -> None:
    with (
        Store(tmp_path, embedder=None) as store,
        pytest.raises(UnknownName, match=f"{kind} memories named {option!r}.*{nearest!r}"),
    ):
        store.memory(kind, **{option: "x"})


@pytest.mark.parametrize("options", [{"path": 7}, {"path": ""}, {"path": "a\0b"}, {"timeout": None}, {"embedder": 7}], ids=str)
def test_a_store_is_opened_with_a_path_an_embedder_and_a_number_of_seconds(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Store(**{"path": tmp_path / "mem", **options})
    assert list(tmp_path.iterdir()) == []


def test_a_class_is_a_kind_of_memory(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        assert isinstance(store.memory(RagMemory, user="ada"), RagMemory)
        with pytest.raises(InputError, match="subclass"):
            store.memory(dict)  # type: ignore[type-var]


def test_a_purge_and_a_search_that_loads_its_embedder_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        (first, second) = memory.add(["first", "second"]).ids
        searcher, held = store.backend.searcher("default"), threading.Event()

        def search() -> None:
            with searcher.index.lock:
                held.set()
                time.sleep(0.2)
                store.backend.embedder()

        threads = [threading.Thread(target=search), threading.Thread(target=memory.purge, args=(first,))]
        threads[0].start()
        held.wait(10)
        threads[1].start()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        assert [item.id for item in memory.items()] == [second]


def test_of_many_users_only_the_last_indexes_are_held_and_all_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "SEARCHERS_KEPT", 3)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        for number in range(8):
            store.memory("rag", user=f"user{number}").add(f"fact {number}")
            assert store.memory("rag", user=f"user{number}").search("fact")
        assert len(store.backend._searchers) == 3
        for number in range(8):
            assert store.memory("rag", user=f"user{number}").search("fact")[0].item.text == f"fact {number}"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE messages SET time = '2O26'",
        "UPDATE events SET at = 'x'",
        "UPDATE contents SET form = 'parts', body = '[1'",
    ],
)
def test_a_damaged_row_is_an_error_of_ours(tmp_path: Path, damage: str) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add("hello")
        with store.backend.database.write() as connection:
            connection.execute(damage)
        with pytest.raises(StoreCorrupt, match="damaged"):
            (memory.history if "events" in damage else memory.items)()
