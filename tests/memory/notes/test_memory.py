"""Agentic notes: the contract, what happens to them with their messages, and facts that are remembered at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from helpers.notes import decision, say, scripted, texts, view

from memagent.errors import InputError
from memagent.memory.notes.memory import NotesMemory
from memagent.store import Store
from memagent.testing.contract import MemoryContract, files_with
from memagent.types import Message


class TestNotes(MemoryContract):
    memory_class = NotesMemory


class TestSheet(MemoryContract):
    memory_class = NotesMemory
    options: ClassVar[dict[str, Any]] = {"style": "key_value"}


def test_forgetting_the_change_brings_back_what_was_before(store: Store) -> None:
    memory = NotesMemory(store)
    _, moved = say(memory, "I live in Lyon.", "I moved from Lyon to Paris.")
    memory.delete(moved)
    assert texts(memory) == ["I live in Lyon."]
    memory.undo()
    assert texts(memory) == ["I moved from Lyon to Paris."]


def test_a_message_that_repeated_a_forgotten_one_speaks_for_itself(store: Store) -> None:
    memory = NotesMemory(store)
    first, _ = say(memory, "My dog is called Biscuit.", "I have a dog named Biscuit.")
    memory.delete(first)
    assert texts(memory) == []
    assert "I have a dog named Biscuit." in view(memory, "What is my dog called?")
    memory.purge(first)
    assert "I have a dog named Biscuit." in view(memory, "What is my dog called?")


def test_purging_one_of_two_messages_behind_a_note_leaves_the_other_in_sight(store: Store) -> None:
    facts = {"facts": [{"text": "Has a dog.", "messages": [1]}]}
    more = {"facts": [{"text": "The dog is called Zzyzx.", "messages": [2]}]}
    model = scripted(
        facts,
        {"decisions": [decision("ADD", text="Has a dog.")]},
        more,
        {"decisions": [decision("UPDATE", id="n1", text="Has a dog called Zzyzx.")]},
    )
    memory = NotesMemory(store, model=model)
    first, second = say(memory, "I have a dog.", "His name is Zzyzx.")
    assert memory.get("n1").sources == (first, second)
    memory.purge(first)
    assert texts(memory) == []
    assert "His name is Zzyzx." in view(memory, "dog")
    assert files_with(store.path, "Has a dog") == []


def test_what_a_note_rested_on_is_edited_and_the_old_text_is_gone(store: Store) -> None:
    memory = NotesMemory(store)
    (name,) = say(memory, "My dog is called Biscuit.")
    memory.update(name, "My dog is called Waffle.")
    assert "Waffle" in view(memory, "dog")
    assert "Biscuit" not in view(memory, "dog")


def test_a_message_passed_by_a_flush_while_forgotten_is_shown_when_restored(store: Store) -> None:
    memory = NotesMemory(store)
    (name,) = memory.add("My dog is called Biscuit.").ids
    memory.delete(name)
    say(memory, "I like tea with milk.")
    memory.undo()
    assert "Biscuit" in view(memory, "dog")


def test_an_edit_made_while_a_flush_thinks_is_not_overwritten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = NotesMemory(store)
    (name,) = memory.add("My dog is called Biscuit.").ids
    think, edits = memory._consolidate, ["My dog is called Waffle."]

    def slow(*arguments: Any) -> Any:
        found = think(*arguments)
        if edits:
            memory.update(name, edits.pop())
        return found

    monkeypatch.setattr(memory, "_consolidate", slow)
    memory.consolidate()
    assert texts(memory) == ["My dog is called Waffle."]
    assert "Biscuit" not in view(memory, "dog")


def test_rebuilding_distils_anew_and_respects_what_the_user_changed(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "My dog is called Biscit.", "I like tea. I play chess in a club.")
    dog, tea, _ = memory.items()
    memory.update(dog.id, "My dog is called Biscuit.")
    memory.delete(tea.id)
    memory.remember("I have two sons.")
    before = sorted(texts(memory))
    memory.rebuild()
    assert sorted(texts(memory)) == before == ["I have two sons.", "I play chess in a club.", "My dog is called Biscuit."]


def test_an_added_fact_is_a_note_at_once_and_flush_adds_none(store: Store) -> None:
    memory = NotesMemory(store)
    receipt = memory.remember("My dog is called Biscuit.")
    (note,) = memory.items()
    assert (note.id, note.origin, receipt.outcomes[0].action) == (receipt.ids[0], "user", "added")
    assert note.sources == tuple(message.id for message in memory.messages())
    assert view(memory, "dog").count("Biscuit") == 1
    memory.consolidate()
    assert len(memory.items()) == 1
    assert memory.remember("I have a dog named Biscuit.").outcomes[0].action == "merged"
    assert len(memory.items()) == 1


def test_an_added_fact_can_be_undone_and_a_deleted_one_stays_deleted(store: Store) -> None:
    memory = NotesMemory(store)
    memory.remember("My dog is called Biscuit.")
    memory.undo()
    assert view(memory, "dog") == ""
    (note,) = memory.remember("My cat is called Tiger.").ids
    memory.delete(note)
    memory.consolidate()
    assert view(memory, "cat") == ""
    memory.undo()
    assert "Tiger" in view(memory, "cat")


def test_adding_nothing_is_refused_and_an_essay_is_kept_as_a_message(store: Store) -> None:
    memory = NotesMemory(store)
    with pytest.raises(InputError):
        memory.remember(" \n")
    memory.remember("I have a garden with many kinds of roses. " * 40)
    assert "roses" in view(memory, "garden")


def test_the_styles_are_kept_apart_in_one_store(store: Store) -> None:
    notes, sheet = NotesMemory(store), NotesMemory(store, style="key_value")
    say(notes, "I live in Lyon.")
    assert sheet.items() == []
    assert sheet.pending_count() == 1
    sheet.consolidate()
    assert texts(sheet) == ["Lyon"]
    assert texts(notes) == ["I live in Lyon."]


def test_another_style_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="key_value"):
        store.memory("notes", style="poem")


def test_two_processes_consolidating_make_every_note_once(store: Store) -> None:
    contract = TestNotes()
    NotesMemory(store, user="ada").add([Message(role="user", content=f"My friend {n} is called Name{n}.") for n in range(50)])
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: contract.in_other_process(store, "consolidate"), range(2)))
    memory = NotesMemory(store, user="ada")
    assert sum(one["processed"] for one in done) == 50
    assert memory.pending_count() == 0
    assert len(memory.items()) == len(set(texts(memory))) == 50
