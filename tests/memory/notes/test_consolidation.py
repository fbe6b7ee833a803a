"""Notes without a model: statements placed among the notes by rules."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers.note_pairs import BOTH_HOLD, CORRECTIONS
from helpers.notes import MAY, PARAPHRASES, say, texts, view

from memagent.db import log, revisions
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
        ("I live in Lyon.", "No, I live in Paris."),
        ("My dog is called Biscuit.", "My dog is called Waffle now."),
        ("My name is Ada King.", "My name is now Ada Lovelace."),
        ("I am vegetarian.", "I'm vegan now."),
        ("My favourite colour is blue.", "My favorite color is green."),
        ("I am 30 years old.", "I am 31 years old."),
        ("I like mushrooms.", "I don't like mushrooms."),
        ("I am vegan.", "I am no longer vegan."),
        ("My phone number is 555 1234.", "My phone number is 555 9876."),
        ("My phone number is 555-1234.", "I have a new number: 555-9876."),
        ("My birthday is on 3 May.", "I was born on 4 May."),
        ("Ich wohne in Jena.", "Ich wohne jetzt in Graz."),
        ("J'habite à Nantes.", "Maintenant j’habite à Lille."),
        ("Vivo en Sevilla.", "Nos hemos mudado de Sevilla a Bilbao."),
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
    _, moved, _ = say(memory, "I live in Lyon.", "I moved from Lyon to Paris.", "I live in Paris.")
    memory.purge(moved)
    assert "I live in Paris." in view(memory, "Where do I live?")
    assert files_with(store.path, "moved from Lyon to Paris") == []


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


@pytest.mark.parametrize(("first", "second"), BOTH_HOLD)
def test_in_doubt_both_stay(store: Store, first: str, second: str) -> None:
    memory = NotesMemory(store)
    say(memory, first, second)
    held = " ".join(texts(memory))
    assert first in held
    assert second.rsplit(". ", maxsplit=1)[-1] in held
    shown = view(memory, "anything").split("\n")
    assert not any("until" in line or "before" in line for line in shown)


@pytest.mark.parametrize(("old", "new", "before", "after", "question"), CORRECTIONS)
def test_a_correction_stands_above_what_it_corrects(
    store: Store, old: str, new: str, before: str, after: str, question: str
) -> None:
    memory = NotesMemory(store)
    say(memory, old, new)
    shown = view(memory, question)
    assert shown.index(after) < shown.index(before)


@pytest.mark.parametrize(("old", "new", "before", "after", "question"), CORRECTIONS)
def test_a_correction_comes_with_what_it_corrects_where_little_fits(
    store: Store, old: str, new: str, before: str, after: str, question: str
) -> None:
    memory = NotesMemory(store)
    say(memory, old, *(f"We saw film number {n} in the old cinema." for n in range(12)), new)
    say(memory, *(f"They planted tree number {n} behind the church." for n in range(12)), start=MAY + timedelta(days=20))
    shown = view(memory, question, budget=40)
    assert after in shown
    assert before not in shown or shown.index(after) < shown.index(before)


def test_a_fact_said_again_after_its_correction_stands_above_it(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "My boss is Anna.", "My boss is Peter now.", "My boss is Anna.")
    assert view(memory, "Who is my boss?") == "[3 May 2026] My boss is Anna.\n[2 May 2026] My boss is Peter now."
    say(memory, *(f"We saw film number {n} in the old cinema." for n in range(12)), start=MAY + timedelta(days=9))
    assert view(memory, "Who is my boss?", budget=20).startswith("[3 May 2026] My boss is Anna.")


def test_the_note_that_a_fact_may_correct_is_named_in_its_history(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I work at Arcadis.", "I started at Siemens.")
    old, new = memory.items()
    with store.backend.database.read() as connection:
        (made,) = revisions.of_item(connection, log.user_id(connection, memory.user) or 0, memory.namespace, new.id)
    assert made.data["corrects"] == [old.id]


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("I live in Rome.", "I live in Lyon."),
        ("I am 40 years old.", "I am 33 years old."),
        ("Mi color favorito es verde.", "Mi color favorito es azul."),
        ("My dog is called Waffle now.", "My dog is called Biscuit."),
        ("I no longer like tea.", "I like tea."),
    ],
)
def test_an_old_conversation_imported_later_tells_the_past(store: Store, now: str, then: str) -> None:
    memory = NotesMemory(store)
    memory.add(Message(role="user", content=now, time=MAY), origin="imported")
    memory.consolidate()
    memory.add(Message(role="user", content=then, time=MAY - timedelta(days=2000)), origin="imported")
    memory.consolidate()
    assert texts(memory) == [now]
    first, second = view(memory, "Where do I live?").split("\n")
    assert (first, second) == (f"[1 May 2026] {now}", f"[8 Nov 2020] until 1 May 2026: {then}")


def test_what_may_be_true_beside_a_newer_note_stays_when_it_is_imported_later(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I quit my job as a teacher.")
    say(memory, "I work as a teacher.", start=MAY - timedelta(days=400))
    assert view(memory, "job").split("\n")[0] == "[1 May 2026] I quit my job as a teacher."
    assert len(texts(memory)) == 2


@pytest.mark.parametrize("hours", [-1, -48, 3])
def test_a_clock_that_jumps_decides_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    memory = NotesMemory(store)
    real = log.now
    memory.add("I live in Lyon.")
    memory.consolidate()
    monkeypatch.setattr(log, "now", lambda: real() + timedelta(hours=hours))
    memory.add("I live in Oslo.")
    memory.consolidate()
    assert texts(memory) == ["I live in Oslo."]
    assert view(memory, "Where do I live?").index("Oslo") < view(memory, "Where do I live?").index("Lyon")
    memory.add("I like tea.")
    memory.consolidate()
    assert view(memory, "anything").split("\n")[0].endswith("I like tea.")
