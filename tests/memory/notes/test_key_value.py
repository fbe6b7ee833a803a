"""Notes as labels with values."""

from __future__ import annotations

from datetime import timedelta

from helpers.notes import MAY, say, scripted, view

from memagent.memory.notes.memory import NotesMemory
from memagent.store import Store


def test_a_sheet_overwrites_known_labels_and_deletes_nothing(store: Store) -> None:
    model = scripted(
        {
            "lines": [
                {"label": "home city", "value": "Lyon", "messages": [1]},
                {"label": "pet", "value": "dog", "messages": [1]},
            ]
        },
        {"lines": []},
        {"lines": [{"label": "Home City", "value": "Paris", "messages": [3]}]},
    )
    memory = NotesMemory(store, style="key_value", model=model)
    say(memory, "I live in Lyon and have a dog.", "Nice weather.", "I moved to Paris.")
    assert [(item.label, item.text) for item in memory.items()] == [("home city", "Paris"), ("pet", "dog")]
    assert view(memory, "Where do I live?") == "- pet: dog\n- home city: Paris"
    assert [change.text for change in memory.history(memory.items()[0].id)] == ["Lyon", "Paris"]
    assert memory.items()[0].valid_from == MAY + timedelta(days=2)


def test_a_sheet_without_a_model_names_what_it_knows(store: Store) -> None:
    memory = NotesMemory(store, style="key_value")
    say(memory, "My dog is called Biscuit.", "I live in Lyon.", "I moved to Paris.", "I love long walks by the sea.")
    held = {item.label: item.text for item in memory.items()}
    assert held["home"] == "Paris"
    assert "Biscuit" in held.values()
    assert len(held) == 3
