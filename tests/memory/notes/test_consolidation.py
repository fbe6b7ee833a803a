"""Notes without a model: statements placed among the notes by rules."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers.notes import MAY, PARAPHRASES, say, texts, view

from memagent.memory.notes.memory import NotesMemory
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.contract import files_with
from memagent.types import Message


@pytest.mark.parametrize("embedder", [None, HashEmbedder()], ids=["words", "hash"])
@pytest.mark.parametrize("flush_each", [True, False])
def test_five_facts_said_three_ways_make_at_most_six_notes(tmp_path: Path, embedder: Any, flush_each: bool) -> None:
    with Store(tmp_path, embedder=embedder) as store:
        memory = NotesMemory(store)
        for saying in zip(*PARAPHRASES, strict=True):
            for text in saying:
                memory.add(text)
                if flush_each:
                    memory.consolidate()
        memory.consolidate()
        assert 5 <= len(memory.items()) <= 6


def test_recalled_text_fed_back_makes_no_note(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, *(saying[0] for saying in PARAPHRASES))
    before = texts(memory)
    for item in memory.items():
        memory.add(item.text)
    memory.consolidate()
    assert texts(memory) == before


@pytest.mark.parametrize(
    "text",
    [
        "Hello there!",
        "Thanks a lot, that helps.",
        "How are you doing today?",
        "What is my dog called?",
        "ok",
        "Good morning",
        "Write a poem about the sea.",
        "That is great.",
    ],
)
def test_small_talk_and_questions_make_no_note(store: Store, text: str) -> None:
    memory = NotesMemory(store)
    say(memory, text)
    assert texts(memory) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I live in Lyon.", "I live in Paris."),
        ("I live in Lyon.", "I moved from Lyon to Paris."),
        ("My dog is called Biscuit.", "My dog is called Waffle."),
        ("My favourite colour is blue.", "My favorite color is green."),
        ("I am 30 years old.", "I am 31 years old."),
        ("I like mushrooms.", "I don't like mushrooms."),
        ("I work as a nurse.", "I now work as a teacher."),
        ("My phone number is 555 1234.", "My phone number is 555 9876."),
    ],
)
def test_another_value_takes_the_old_ones_place(store: Store, old: str, new: str) -> None:
    memory = NotesMemory(store)
    first, _ = say(memory, old, new)
    assert texts(memory) == [new]
    assert f"until 2 May 2026: {old}" in view(memory, new)
    memory.delete(first)
    assert old not in view(memory, new)
    memory.purge(first)
    assert files_with(store.path, old) == []
    assert texts(memory) == [new]


def test_a_message_that_repeated_a_purged_change_speaks_for_itself(store: Store) -> None:
    memory = NotesMemory(store)
    _, moved, _ = say(memory, "I live in Lyon.", "I moved to Paris.", "I live in Paris.")
    memory.purge(moved)
    assert "I live in Paris." in view(memory, "Where do I live?")
    assert files_with(store.path, "moved to Paris") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("My dog is called Biscuit.", "My cat is called Biscuit."),
        ("My older sister is called Anna.", "My younger sister is called Eva."),
        ("I live in Lyon.", "My sister lives in Lyon."),
        ("I live in Lyon.", "I lived in Paris as a child."),
        ("I like tea.", "I like coffee."),
        ("My sister is a nurse.", "My mother is a nurse."),
        ("I have a meeting on Monday at 3.", "I have a meeting on Monday at 4."),
        ("I'm a nurse.", "My brother is a nurse."),
        ("I met a painter in Paris.", "I'm a painter."),
    ],
)
def test_different_things_stay_two_notes(store: Store, first: str, second: str) -> None:
    memory = NotesMemory(store)
    say(memory, first, second)
    assert texts(memory) == [first, second]


def test_more_detail_completes_a_note_and_a_repeat_leaves_it(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I live in Lyon.", "I live in Lyon with my wife Anna.", "I live in Lyon.")
    (note,) = memory.items()
    assert note.text == "I live in Lyon with my wife Anna."
    assert note.valid_from == MAY
    assert [change.action for change in memory.history(note.id)] == ["add", "update", "none"]
    assert "until" not in view(memory, "Where do I live?")


def test_a_named_speaker_is_told_apart_and_the_assistant_is_no_source(store: Store) -> None:
    memory = NotesMemory(store)
    memory.add(
        [
            Message(role="user", speaker="Ada", content="I live in Lyon."),
            Message(role="user", speaker="Bob", content="I live in Oslo."),
            Message(role="assistant", content="I live in a data centre in Iceland."),
        ]
    )
    memory.consolidate()
    assert [(item.speaker, item.text) for item in memory.items()] == [("Ada", "I live in Lyon."), ("Bob", "I live in Oslo.")]
    assert "Bob: I live in Oslo." in view(memory, "Where does Bob live?")


def test_what_was_told_earlier_but_imported_later_replaces_nothing(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I live in Paris.")
    say(memory, "I live in Lyon.", start=MAY - timedelta(days=400))
    assert "I live in Paris." in texts(memory)
    assert "until" not in view(memory, "Where do I live?")
