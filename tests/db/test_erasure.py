"""What is purged leaves no byte in any file of the store, also where the store keeps copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.errors import NotFound
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.contract import files_with

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
