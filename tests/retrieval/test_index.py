"""The index follows the log step by step and equals one that is made anew; its file is trusted only where it fits."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from memagent.db import log
from memagent.errors import NotFound
from memagent.memory.base import Memory
from memagent.retrieval import index
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.contract import files_with
from memagent.types import Message

WORDS = ["dog", "cat", "Biscuit", "Lyon", "Rome", "train", "tea", "coffee", "garden", "Ana", "Ben", "May"]
LONG = "A very long remark about the garden in Lyon. " * 60

VERBS = ("add", "add", "add", "update", "delete", "purge", "undo", "search")
Step = tuple[str, int, str, str]


def _steps(seed: int) -> list[Step]:
    random = Random(seed)
    texts = [*(" ".join(random.choices(WORDS, k=random.randint(1, 8))) for _ in range(8)), LONG, ""]
    number = random.randint(2, 15)
    return [(random.choice(VERBS), random.randrange(30), random.choice(texts), random.choice("ab")) for _ in range(number)]


def _apply(memory: Memory, step: Step) -> None:
    verb, number, text, session = step
    ids = [item.id for item in memory.items()] if verb != "add" else []
    if verb == "add":
        speaker = (None, "Ana", "Ben")[number % 3]
        role = ("user", "assistant")[number % 2]
        memory.add(Message(role=role, content=text, speaker=speaker), session=session)  # type: ignore[arg-type]
    elif verb == "search":
        memory.search(text)
    elif verb == "undo":
        with suppress(NotFound):
            memory.undo()
    elif ids:
        id = ids[number % len(ids)]
        getattr(memory, verb)(id, text) if verb == "update" else getattr(memory, verb)(id)


def _answers(memory: Memory) -> dict[tuple[str, str], float]:
    """Scores by question and message."""
    questions = ("Where is the dog of Ana?", "train Rome", LONG[:300], "tea", "What did Ben say in May?")
    found = {(asked, hit.item.id): hit.score for asked in questions for hit in memory.search(asked, limit=100)}
    return found | _corrections(memory)


def _corrections(memory: Memory) -> dict[tuple[str, str], float]:
    """Scores of what may correct a message, by both their ids."""
    searcher = memory._backend.searcher(memory.user)
    hits = searcher.search("dog train Rome tea", limit=20, mode="lexical")
    found = zip(hits, searcher.corrections(hits, lambda hit: hit.text, limit=100, reach=3), strict=True)
    return {
        (str(old.stored.message.id), str(new.stored.message.id)): new.score
        for old, one in found
        for new in (*one.next, *one.alike)
    }


def _same(scores: dict[tuple[str, str], float]) -> object:
    return pytest.approx(scores, abs=0.02)  # of sums in another order


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 150))])
def test_an_index_that_followed_every_change_answers_as_one_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(index, "COMPACT_FROM", 3)
    with Store(tmp_path, embedder=HashEmbedder()) as store, Store(tmp_path, embedder=HashEmbedder()) as watching:
        memory, other = store.memory("rag"), watching.memory("rag")
        for number, step in enumerate(_steps(seed)):
            _apply(memory, step)
            if number % 3 == 0:
                other.search("dog")
        followed, watched = _answers(memory), _answers(other)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        fresh = _same(_answers(store.memory("rag")))
        assert followed == fresh
        assert watched == fresh


def test_an_index_is_the_same_from_its_file_as_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SNAPSHOT_FROM", 5)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        for seed in range(4):
            for step in _steps(seed):
                _apply(memory, step)
            memory.search("dog")
        memory.delete(memory.items()[-1].id)
        followed = _answers(memory)
    assert list((tmp_path / "cache" / "index").glob("*.npz"))
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        assert _answers(store.memory("rag")) == _same(followed)
    shutil.rmtree(tmp_path / "cache")
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        assert _answers(store.memory("rag")) == _same(followed)


@pytest.mark.parametrize("change", ["update", "purge"])
def test_a_change_of_one_message_does_not_read_the_others_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store, Store(tmp_path, embedder=HashEmbedder()) as other:
        memory, watching = store.memory("rag"), other.memory("rag")
        ids = memory.add([f"fact {number} about topic{number}" for number in range(50)]).ids
        assert memory.search("topic7")
        assert watching.search("topic7")
        read: list[int] = []
        original = index.UserIndex.add

        def counted(self: index.UserIndex, stored: log.Stored, *, after: int | None = None) -> None:
            read.append(stored.seq)
            original(self, stored, after=after)

        monkeypatch.setattr(index.UserIndex, "add", counted)
        if change == "update":
            memory.update(ids[7], "walruses in the bath")
        else:
            memory.purge(ids[7])
        for searched in (memory, watching):
            found = [hit.item.text for hit in searched.search("walruses topic7", limit=50)]
            assert ("walruses in the bath" in found) == (change == "update")
            assert "fact 7 about topic7" not in found
        assert len(read) == (2 if change == "update" else 0)


def _filled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ada has a snapshot of sixty messages; a copy of the database before them is in `old.db`."""
    monkeypatch.setattr(index, "SNAPSHOT_FROM", 10)
    with Store(folder, embedder=HashEmbedder()) as store:
        store.memory("rag", user="ada").add("hello")
    shutil.copy(folder / "memory.db", folder / "old.db")
    with Store(folder, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")
        memory.add([f"filler {number} zebracanary" for number in range(60)])
        memory.consolidate()


def _old_copy(folder: Path) -> None:
    shutil.copy(folder / "old.db", folder / "memory.db")


def _no_database(folder: Path) -> None:
    (folder / "memory.db").unlink()


def _another_database(folder: Path) -> None:
    with Store(folder / "other", embedder=HashEmbedder()) as store:
        store.memory("rag", user="bob").add("another store")
        store.memory("rag", user="ada").add("another store")
    shutil.copy(folder / "other" / "memory.db", folder / "memory.db")


@pytest.mark.parametrize("swap", [_old_copy, _no_database, _another_database])
@pytest.mark.parametrize("number", [1, 50, 200])
def test_an_index_file_of_another_date_or_database_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: Callable[[Path], None], number: int
) -> None:
    _filled(tmp_path, monkeypatch)
    swap(tmp_path)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        bob, ada = store.memory("rag", user="bob"), store.memory("rag", user="ada")
        bob.add([f"bob private canary {one}" for one in range(number)])
        for user in (ada, bob):
            user.add("the walrus is new")
            assert user.search("walrus")[0].item.text == "the walrus is new"
            assert user.pending_count() == 0
        shown = str(ada.recall("filler zebracanary bob private canary", budget=300).text)
        assert "bob" not in shown
        assert "filler" not in shown
        assert not any("canary" in hit.item.text for hit in ada.search("bob private canary zebracanary", limit=50))


def test_a_database_put_back_under_its_caches_does_not_show_what_it_no_longer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _filled(tmp_path, monkeypatch)
    cache = tmp_path / "kept"
    shutil.copytree(tmp_path / "cache", cache)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        store.memory("rag", user="ada").purge(everything=True)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    shutil.copytree(cache, tmp_path / "cache")
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        ada = store.memory("rag", user="ada")
        assert ada.search("zebracanary") == []
        ada.add("new")
        assert [hit.item.text for hit in ada.search("zebracanary new")] == ["new"]


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("closed_by", ["same", "other"])
def test_no_index_written_after_a_purge_holds_the_purged_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool, closed_by: str
) -> None:
    monkeypatch.setattr(index, "SNAPSHOT_FROM", 10)
    other = Store(tmp_path, embedder=HashEmbedder())
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", session="kaninchen")
        (secret,) = memory.add(Message(role="user", content="my secret is zebracanary", speaker="Quux")).ids
        memory.add([f"filler {number}" for number in range(30)], session="rest")
        assert memory.search("zebracanary")
        if closed_by == "other":
            assert other.memory("rag").search("zebracanary")
        memory.purge(None if everything else secret, everything=everything)
    other.close()
    assert files_with(tmp_path, "zebracanary") == files_with(tmp_path, "Quux") == []
    if everything:
        assert files_with(tmp_path, "kaninchen") == []
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        assert store.memory("rag").stats().vectors == (0 if everything else 30)


def test_the_draft_of_a_killed_writer_goes_with_the_next_purge(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        (secret,) = memory.add("my secret is zebracanary").ids
        path = store.backend.searcher("default").index.path
        path.parent.mkdir(parents=True)
        (path.parent / f".{path.name}.x7.tmp").write_text("zebracanary")
        memory.purge(secret)
        assert files_with(tmp_path, "zebracanary") == []


def test_a_purge_while_the_index_is_being_written_takes_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SNAPSHOT_FROM", 10)
    writing = Store(tmp_path, embedder=HashEmbedder())
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        ids = memory.add([f"filler {number} zebracanary{number}" for number in range(30)]).ids
        assert writing.memory("rag").search("zebracanary7")
        original = index.UserIndex._arrays

        def purged_meanwhile(self: index.UserIndex) -> object:
            arrays = original(self)
            memory.purge(ids[7])
            return arrays

        with monkeypatch.context() as patched:
            patched.setattr(index.UserIndex, "_arrays", purged_meanwhile)
            writing.close()
        assert files_with(tmp_path, "zebracanary7") == []


@pytest.mark.slow
@pytest.mark.timed
def test_one_change_in_a_large_memory_costs_no_more_than_three_searches(tmp_path: Path) -> None:
    from memagent.evaluation.store import made_up_texts

    texts = made_up_texts(20_100)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        ids = memory.add(texts[:20_000]).ids
        memory.consolidate()

        def seconds(change: Callable[[int], object]) -> float:
            taken = []
            for number in range(15):
                change(number)
                began = time.perf_counter()
                memory.search(texts[20_000 + number])
                taken.append(time.perf_counter() - began)
            return sorted(taken)[len(taken) // 2]

        ordinary = seconds(lambda number: None)
        assert seconds(lambda number: memory.update(ids[number], f"edited {number}")) < 3 * ordinary
        assert seconds(lambda number: memory.purge(ids[100 + number])) < 3 * ordinary
