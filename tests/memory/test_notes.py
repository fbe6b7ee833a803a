"""Agentic notes: the contract, and what notes add to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import MalformedOutput
from memagent.memory.notes import NotesMemory
from memagent.models.fake import GarbageModel
from memagent.models.scripted import ScriptedModel
from memagent.retrieval.embedder import HashEmbedder
from memagent.store.store import Store
from memagent.testing.contract import MemoryContract, files_with


class TestNotes(MemoryContract):
    memory_class = NotesMemory


def test_a_new_value_takes_the_old_ones_place_and_the_old_one_is_kept(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes")
        for text in ("I live in Lyon.", "I moved to Paris."):
            memory.observe(text)
            memory.flush()
        (note,) = memory.items()
        assert note.text == "I moved to Paris."
        assert [change.text for change in memory.history(note.id)] == ["I live in Lyon.", "I moved to Paris."]
        assert "before: I live in Lyon." in str(memory.recall("Where do I live?", budget=80).view)


def test_a_model_adds_updates_and_deletes_by_id(tmp_path: Path) -> None:
    def script(*verdicts: dict[str, object]) -> str:
        return json.dumps({"verdicts": list(verdicts)})

    replies = [
        json.dumps({"facts": ["The user's dog is called Biscuit."]}),
        script({"action": "ADD", "text": "The user's dog is called Biscuit.", "reason": "new"}),
        json.dumps({"facts": ["The dog is called Waffle now."]}),
        script({"action": "UPDATE", "id": "n1", "text": "The user's dog is called Waffle.", "reason": "renamed"}),
    ]
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes", model=ScriptedModel([{"text": reply} for reply in replies]))
        for text in ("My dog is called Biscuit.", "We call him Waffle now."):
            memory.observe(text)
            memory.flush()
        (note,) = memory.items()
        assert (note.id, note.text) == ("n1", "The user's dog is called Waffle.")
        assert memory.history("n1")[-1].reason == "renamed"


def test_garbage_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes", model=GarbageModel())
        memory.observe("My dog is called Biscuit.")
        with pytest.raises(MalformedOutput) as caught:
            memory.flush()
        assert caught.value.output == GarbageModel.text
        assert memory.pending() == 1
        assert "Biscuit" in str(memory.recall("dog", budget=80).view)


def test_an_id_that_was_not_shown_changes_nothing(tmp_path: Path) -> None:
    replies = [
        {"text": json.dumps({"facts": ["x y"]})},
        {"text": json.dumps({"verdicts": [{"action": "DELETE", "id": "n99"}]})},
    ]
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes", model=ScriptedModel(replies))
        memory.observe("My dog is called Biscuit.")
        with pytest.raises(MalformedOutput, match="n99"):
            memory.flush()
        assert memory.items() == []
        assert memory.pending() == 1


def test_rebuilding_distils_the_log_anew(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = NotesMemory(store)
        memory.observe("My dog is called Biscuit.")
        memory.flush()
        memory.rebuild()
        assert [item.text for item in memory.items()] == ["My dog is called Biscuit."]


def test_what_a_note_rested_on_is_edited_and_the_old_text_is_gone(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes")
        (name,) = memory.observe("My dog is called Biscuit.").ids
        memory.flush()
        memory.edit(name, "My dog is called Waffle.")
        view = str(memory.recall("dog", budget=80).view)
        assert "Waffle" in view
        assert "Biscuit" not in view


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I live in Lyon.", "I live in Paris."),
        ("My dog is called Biscuit.", "My dog is called Waffle."),
        ("My favourite colour is blue.", "My favourite colour is green."),
        ("I am 30 years old.", "I am 31 years old."),
    ],
)
def test_a_restated_attribute_is_never_taken_for_a_repeat(old: str, new: str, tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes")
        first = memory.observe(old).ids[0]
        memory.flush()
        memory.observe(new)
        memory.flush()
        assert [item.text for item in memory.items()] == [new]
        memory.forget(first)
        assert "before" not in str(memory.recall(new, budget=80).view)
        memory.purge(first)
        assert files_with(store.path, old) == []


def test_a_message_passed_by_a_flush_while_forgotten_is_shown_when_restored(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes")
        (name,) = memory.observe("My dog is called Biscuit.").ids
        memory.forget(name)
        memory.observe("I like tea with milk.")
        memory.flush()
        memory.undo()
        assert "Biscuit" in str(memory.recall("dog", budget=80).view)


def test_an_edit_made_while_a_flush_thinks_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = NotesMemory(store)
        (name,) = memory.observe("My dog is called Biscuit.").ids
        think, edits = memory._distil, ["My dog is called Waffle."]

        def slow(*arguments: Any) -> Any:
            found = think(*arguments)
            if edits:
                memory.edit(name, edits.pop())
            return found

        monkeypatch.setattr(memory, "_distil", slow)
        memory.flush()
        view = str(memory.recall("dog", budget=80).view)
        assert "Waffle" in view
        assert "Biscuit" not in view


def test_a_fact_without_a_verdict_is_an_error(tmp_path: Path) -> None:
    replies = [{"text": json.dumps({"facts": ["a b", "c d"]})}, {"text": json.dumps({"verdicts": [{"action": "NONE"}]})}]
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("notes", model=ScriptedModel(replies))
        memory.observe("My dog is called Biscuit.")
        with pytest.raises(MalformedOutput, match="1 verdicts for 2 facts"):
            memory.flush()
        assert memory.pending() == 1
