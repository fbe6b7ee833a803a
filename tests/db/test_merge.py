"""Stores are brought together: each message once, deleted ones come back, edits are kept, ids never clash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from memagent.memory.base import Memory
from memagent.store import Store


def actions(memory: Memory, path: Path) -> list[str]:
    return [outcome.action for outcome in memory.import_file(path).outcomes]


def texts(memory: Memory) -> list[str]:
    return [item.text for item in memory.items()]


def test_two_machines_are_merged_both_ways_and_a_second_time_adds_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "laptop", embedder=None) as one, Store(tmp_path / "desktop", embedder=None) as two:
        laptop, desktop = one.memory("rag", user="ada"), two.memory("rag", user="ada")
        laptop.add(["My PIN card is blue.", "I live in Lyon."])
        desktop.add(["My bike is red.", "I live in Lyon."])
        laptop.export_file(tmp_path / "laptop.jsonl")
        desktop.export_file(tmp_path / "desktop.jsonl")
        assert actions(desktop, tmp_path / "laptop.jsonl") == ["added", "added"]
        assert actions(laptop, tmp_path / "desktop.jsonl") == ["added", "added"]
        for memory in (laptop, desktop):
            assert sorted(texts(memory)) == ["I live in Lyon.", "I live in Lyon.", "My PIN card is blue.", "My bike is red."]
            for name in ("laptop", "desktop"):
                assert set(actions(memory, tmp_path / f"{name}.jsonl")) == {"skipped"}
            assert len(memory.items()) == 4


def test_an_export_comes_back_after_edits_deletes_and_purges(tmp_path: Path) -> None:
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag")
        ids = memory.add(["first", "second", "third", "fourth", "fifth"]).ids
        memory.export_file(tmp_path / "export.jsonl")
        memory.update(ids[0], "first, edited")
        memory.delete(ids[1])
        memory.purge(ids[2])
        memory.update(ids[3], "fourth, edited")
        memory.delete(ids[3])
        assert actions(memory, tmp_path / "export.jsonl") == ["skipped", "restored", "added", "restored", "skipped"]
        assert sorted(texts(memory)) == ["fifth", "first, edited", "fourth, edited", "second", "third"]
        assert set(actions(memory, tmp_path / "export.jsonl")) == {"skipped"}
        assert memory.search("second")[0].item.text == "second"


def test_what_was_edited_on_the_other_machine_is_edited_here(tmp_path: Path) -> None:
    with Store(tmp_path / "one", embedder=None) as one, Store(tmp_path / "two", embedder=None) as two:
        here, there = one.memory("rag"), two.memory("rag")
        (id,) = there.add("I live in Lyon.").ids
        there.export_file(tmp_path / "first.jsonl")
        here.import_file(tmp_path / "first.jsonl")
        there.update(id, "I live in Oslo.")
        there.export_file(tmp_path / "second.jsonl")
        assert actions(here, tmp_path / "second.jsonl") == ["superseded"]
        assert actions(here, tmp_path / "first.jsonl") == ["skipped"]
        assert texts(here) == ["I live in Oslo."]
        here.undo()
        assert texts(here) == ["I live in Lyon."]


def test_copies_of_a_store_that_went_on_apart_are_merged(tmp_path: Path) -> None:
    with Store(tmp_path / "one", embedder=None) as store:
        store.memory("rag").add("before")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two"):
        with Store(tmp_path / name, embedder=None) as store:
            memory = store.memory("rag")
            memory.add([f"{name} first", f"{name} second"])
            memory.export_file(tmp_path / f"{name}.jsonl")
    with Store(tmp_path / "one", embedder=None) as store:
        memory = store.memory("rag")
        for _ in range(2):
            memory.import_file(tmp_path / "two.jsonl")
            assert sorted(texts(memory)) == ["before", "one first", "one second", "two first", "two second"]
        memory.add("after")
        assert len({item.id for item in memory.items()}) == 6


def test_another_message_under_a_taken_id_gets_an_id_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "file.jsonl"
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag")
        memory.add({"role": "user", "content": "mine", "id": "x"})
        rows = [{"memagent_export": 1}, {"role": "user", "content": "theirs", "id": "x"}, {"role": "user", "content": "more"}]
        file.write_text("\n".join(map(json.dumps, rows)))
        for expected in (["added", "added"], ["skipped", "skipped"]):
            assert actions(memory, file) == expected
        assert texts(memory) == ["mine", "theirs", "more"]


@pytest.mark.parametrize("kind", ["rag", "notes"])
def test_ids_of_many_stores_are_all_different_and_typed_by_their_beginning(tmp_path: Path, kind: str) -> None:
    seen: set[str] = set()
    for number in range(12):
        with Store(tmp_path / str(number), embedder=None) as store:
            memory = store.memory(kind)
            (id,) = memory.add("My dog is called Biscuit.").ids
            memory.consolidate()
            found = {id, *(item.id for item in memory.items())}
            assert not seen & found
            seen |= found
            assert all(len(one) <= 12 for one in found)
            assert memory.get(id.split("-")[0]).text == memory.get(id[:-1]).text == "My dog is called Biscuit."
            assert memory.update("m1", "My dog is called Waffle.").ids == (id,)
            assert memory.history("m1") == memory.history(id)
            assert memory.delete("m1").ids == (id,)


def test_a_beginning_of_several_ids_is_refused_with_their_names(tmp_path: Path) -> None:
    with Store(tmp_path / "one", embedder=None) as one, Store(tmp_path / "two", embedder=None) as two:
        memory, other = one.memory("rag"), two.memory("rag")
        (mine,), (theirs,) = memory.add("mine").ids, other.add("theirs").ids
        other.export_file(tmp_path / "export.jsonl")
        memory.import_file(tmp_path / "export.jsonl")
        with pytest.raises(Exception, match="type one of them") as error:
            memory.delete("m1")
        assert mine in str(error.value)
        assert theirs in str(error.value)
        assert memory.delete(theirs).ids == (theirs,)
        for name in ("m", "m1*", "m1%", "", "m2", "mm1-"):
            with pytest.raises(Exception, match="no item"):
                memory.get(name)
