"""No verb of one user reads or changes anything of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.errors import NotFound
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store

KINDS = ("rag", "long_context", "notes", "memocr")


@pytest.mark.parametrize("kind", KINDS)
def test_no_verb_reaches_another_user(kind: str, tmp_path: Path) -> None:
    with Store(tmp_path / "mem", embedder=HashEmbedder()) as store:
        ada, bob = store.memory(kind, user="ada"), store.memory(kind, user="bob")
        name = ada.add("My secret word is marzipan.", session="private").ids[0]
        ada.consolidate()
        bob.add("I like tea.")
        bob.consolidate()
        before = ada.items(), ada.history(), ada.stats()
        for verb in (bob.get, bob.delete, bob.purge, bob.history):
            with pytest.raises(NotFound):
                verb(name)
        with pytest.raises(NotFound):
            bob.undo()
        with pytest.raises(NotFound):
            store.delete_session("private", user="bob")
        assert [one.name for one in store.sessions("bob")] == ["default"]
        bob.export_file(tmp_path / "bob.jsonl")
        bob.snapshot(tmp_path / "bob.snapshot")
        assert not any("marzipan" in path.read_text("utf-8") for path in tmp_path.glob("bob.*"))
        bob.purge(everything=True)
        assert (ada.items(), ada.history(), ada.stats()) == before


def test_two_users_may_use_the_same_ids(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        ada, bob = store.memory("rag", user="ada"), store.memory("rag", user="bob")
        ada.add({"role": "user", "content": "mine", "id": "x"})
        bob.add({"role": "user", "content": "yours", "id": "x"})
        ada.delete("x")
        assert bob.get("x").text == "yours"
