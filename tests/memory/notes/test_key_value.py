"""Notes as labels with values."""

from __future__ import annotations

from datetime import timedelta

import pytest
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
    assert view(memory, "Where do I live?") == "- home city: Paris\n[2 May 2026] user: Nice weather.\n- pet: dog"
    assert [change.text for change in memory.history(memory.items()[0].id)] == ["Lyon", "Paris"]
    assert memory.items()[0].valid_from == MAY + timedelta(days=2)


def test_a_sheet_without_a_model_names_what_it_knows(store: Store) -> None:
    memory = NotesMemory(store, style="key_value")
    say(memory, "My dog is called Biscuit.", "I live in Lyon.", "I moved from Lyon to Paris.", "I love long walks by the sea.")
    held = {item.label: item.text for item in memory.items()}
    assert held["home"] == "Paris"
    assert "Biscuit" in held.values()
    assert len(held) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("My phone number is 555-0199.", "My phone is broken."),
        ("My car is a Fiat.", "My car is a Tesla."),
        ("My sister Anna likes tea.", "My sister Anna likes chess."),
        ("I work as a nurse.", "I work as a barista."),
        ("I live in Lyon.", "I live in France."),
        ("Ich wohne in Jena.", "Ich wohne in einer WG."),
    ],
)
def test_a_sheet_without_a_model_overwrites_nothing_that_may_still_hold(store: Store, first: str, second: str) -> None:
    memory = NotesMemory(store, style="key_value")
    say(memory, first, second, first)
    held = [f"{item.label}: {item.text}" for item in memory.items()]
    assert len(held) == 2
    assert all(said.rstrip(".").split()[-1] in line for said, line in zip((first, second), held, strict=True))
