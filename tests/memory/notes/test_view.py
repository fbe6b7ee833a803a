"""The view and the search of notes."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.corrections import CORRECTIONS, Correction, talk
from helpers.notes import MAY, say, view

from memagent.memory.notes.memory import NotesMemory
from memagent.store import Store
from memagent.testing.contract import WORDS
from memagent.types import ImagePart, Message, TextPart
from memagent_renderers.budget import Budget


def test_the_note_and_the_new_message_that_answer_come_first(store: Store) -> None:
    memory = NotesMemory(store)
    memory.add([Message(role="user", content=f"My friend number {n} is called Name{n}.") for n in range(60)])
    memory.consolidate()
    store.memory("notes").add([Message(role="user", content=f"I saw film number {n} today.") for n in range(30)])
    store.memory("rag").add("My parrot is called Zed.")
    assert "Name41." in view(memory, "What is my friend number 41 called?", budget=30)
    assert "Zed" in view(memory, "What is my parrot called?", budget=30)
    recall = memory.recall("What is my friend number 41 called?", budget=Budget(60, WORDS))
    assert recall.dropped == 91 - len(recall.sources)
    assert all(source.score is not None for source in recall.sources)


def test_what_was_told_last_stands_first_notes_and_messages_alike(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I live in Lyon.", "I like tea. I play chess.")
    memory.add(Message(role="user", content="I bought a kite.", time=MAY + timedelta(days=9)))
    memory.add(Message(role="user", content="I sold a boat.", time=MAY - timedelta(days=9)))
    assert view(memory, "anything").split("\n") == [
        "[10 May 2026] user: I bought a kite.",
        "[2 May 2026] I like tea.",
        "[2 May 2026] I play chess.",
        "[1 May 2026] I live in Lyon.",
        "[22 Apr 2026] user: I sold a boat.",
    ]


def test_the_past_is_shown_when_it_fits_or_is_asked_for(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I live in Lyon.", "I moved from Lyon to Paris.")
    memory.add([Message(role="user", content=f"I have a book by author number {n}.") for n in range(30)])
    memory.consolidate()
    assert "I live in Lyon" not in view(memory, "Which city is my home, Paris?", budget=40)
    assert "until 2 May 2026: I live in Lyon." in view(memory, "Where did I live before Paris?", budget=60)


def test_a_view_of_one_session_says_nothing_of_another(store: Store) -> None:
    monday, tuesday = NotesMemory(store, session="monday"), NotesMemory(store, session="tuesday")
    say(monday, "I live in Lyon.")
    tuesday.add("I moved to Paris.")
    monday.add("I like tea.")
    monday.consolidate()
    assert "Paris" not in view(monday, "Where do I live?", session="monday")
    assert "Lyon" in view(monday, "Where do I live?", session="monday")
    assert {item.text for item in monday.items(session="monday")} == {"I live in Lyon.", "I like tea."}
    assert "Lyon" not in view(monday, "Where do I live?", session="tuesday")


def test_search_finds_notes_first_then_messages(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "My dog is called Biscuit.", "I like tea.")
    memory.add(Message(role="assistant", content="A dog needs a walk every day."))
    found = memory.search("dog")
    assert (found[0].item.kind, found[0].item.text) == ("note", "My dog is called Biscuit.")
    assert "walk" in " ".join(one.item.text for one in found if one.item.kind == "message")
    assert len(memory.search("dog", limit=1)) == 1
    assert all("tea" not in one.item.text for one in found if one.item.kind == "note")


def test_many_messages_that_nobody_distilled_are_found_too(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I live in Lyon.")
    memory.add([Message(role="user", content=f"Today I walked past house number {n}.") for n in range(400)])
    memory.add("My parrot is called Zed.")
    memory.add([Message(role="user", content=f"Today I walked past tree number {n}.") for n in range(400)])
    assert "Zed" in view(memory, "What is my parrot called?", budget=60)
    assert memory.recall("What is my parrot called?", budget=Budget(60, WORDS)).dropped > 790


@pytest.mark.parametrize(
    "text",
    [
        "我叫小明。我住在上海。",
        "私の名前はハルカです。",
        "저는 민지예요.",
        "ฉันชื่อมาลี",
        "Меня зовут Олег.",
        "اسمي ليلى.",
        "To buy: - milk - eggs",
        "To buy:\n- milk\n- eggs",
        "| day | dish |\n|---|---|\n| Mon | soup |",
        "host: nas\nport: 22",
        "```\nx = 1\n```",
        "What is my name?",
        "ok",
        "👍",
    ],
)
@pytest.mark.parametrize("style", ["facts", "key_value"])
def test_everything_said_is_in_the_view_while_it_fits(store: Store, text: str, style: Any) -> None:
    memory = NotesMemory(store, style=style)
    say(memory, text, "I like tea.")
    memory.add([Message(role="assistant", content="Noted: green tea.", time=MAY)])
    memory.consolidate()
    recall = memory.recall("我叫什么名字？", budget=Budget(200, WORDS))
    shown = " ".join(str(recall.text).split())
    words = text.replace("```", " ").replace("。", " ").split()
    assert all(word in shown for word in words), shown
    assert "green tea" in shown
    assert recall.dropped == 0


@pytest.mark.parametrize(
    ("text", "note", "beside"),
    [
        ("I live in Lyon. What should I cook?", "I live in Lyon.", "What should I cook?"),
        ("我住在上海。你呢？", "我住在上海。", "你呢？"),
        ("Η γάτα μου λέγεται Λίζα. Πού είναι;", "Η γάτα μου λέγεται Λίζα.", "Πού είναι;"),
    ],
)
def test_a_question_beside_facts_is_shown_or_counted(store: Store, text: str, note: str, beside: str) -> None:
    memory = NotesMemory(store)
    say(memory, text)
    recall = memory.recall("", budget=200)
    assert {one.text for one in recall.sources} == {note, beside}
    assert recall.dropped == 0
    recall = memory.recall("", budget=Budget(WORDS.count(f"[1 May 2026] {note}"), WORDS))
    assert note in str(recall.text)
    assert recall.dropped == 1


def test_what_the_user_took_back_leaves_no_question_behind(store: Store) -> None:
    memory = NotesMemory(store)
    note = memory.remember("I live in Lyon. Shall I stay?").outcomes[0].id
    memory.consolidate()
    assert str(memory.recall("", budget=200).text).count("Shall I stay?") == 1
    memory.delete(note)
    assert memory.recall("", budget=200).text == ""


def test_a_picture_beside_facts_is_named(store: Store) -> None:
    memory = NotesMemory(store)
    memory.add(Message(role="user", content=(ImagePart(data=b"\x89PNG"), TextPart(text="This is my cat Tama."))))
    memory.consolidate()
    recall = memory.recall("", budget=200)
    assert [one.text for one in recall.sources] == ["[picture]", "This is my cat Tama."]


def test_every_earlier_state_of_a_note_is_shown_or_the_note_counted(store: Store) -> None:
    memory = NotesMemory(store)
    cities = ["Lyon", "Paris", "Rome", "Oslo", "Bonn"]
    say(memory, "I live in Lyon.", *(f"I moved from {a} to {b}." for a, b in pairwise(cities)))
    recall = memory.recall("", budget=400)
    assert recall.dropped == 0
    assert all(city in str(recall.text) for city in cities)
    recall = memory.recall("", budget=Budget(9, WORDS))
    assert recall.dropped == 1
    assert "Lyon" not in str(recall.text)


def test_a_message_of_which_one_passage_is_shown_is_counted(store: Store) -> None:
    memory = NotesMemory(store)
    memory.add(" ".join(f"In year {n} I planted tree {n} behind the old house." for n in range(60)))
    memory.add("My cat Zed planted tree 40 too.")
    recall = memory.recall("Did Zed plant tree 40?", budget=Budget(240, WORDS))
    assert recall.dropped == 1
    assert ["Zed" in one.text for one in recall.sources].count(True) == 1
    assert not any("tree 1 " in one.text for one in recall.sources)


def test_what_finds_no_room_is_counted_questions_and_answers_first(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, *(f"My friend number {n} is called Name{n}." for n in range(6)))
    memory.add([Message(role="user", content=f"Is it {n} o'clock?", time=MAY) for n in range(6)])
    memory.add([Message(role="assistant", content=f"It is {n} o'clock.", time=MAY) for n in range(6)])
    memory.consolidate()
    recall = memory.recall("Is it 3 o'clock?", budget=Budget(90, WORDS))
    assert sum("Name" in source.text for source in recall.sources) == 6
    assert recall.dropped == 18 - len(recall.sources) > 0


def test_a_document_of_very_many_facts_stays_a_message_and_is_found(store: Store) -> None:
    memory = NotesMemory(store)
    memory.add(" ".join(f"Box number {n} holds {n} screws." for n in range(400)) + " The key of the safe is under the mat.")
    memory.consolidate()
    assert memory.items() == []
    assert "under the mat" in view(memory, "Where is the key of the safe?")


def test_a_message_passed_over_is_not_shown_once_it_is_forgotten(store: Store) -> None:
    memory = NotesMemory(store)
    asked, _ = say(memory, "Is Zed my parrot?", "I like tea.")
    assert "Zed" in view(memory, "parrot")
    memory.delete(asked)
    assert "Zed" not in view(memory, "parrot")
    assert "Zed" not in view(memory, "parrot", session="elsewhere")


@pytest.mark.parametrize("one", CORRECTIONS)
@pytest.mark.parametrize("budget", [60, 400])
def test_the_newest_value_comes_first_whether_all_fits_or_not(tmp_path: Path, one: Correction, budget: int) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("notes", user="ada")
        memory.add(talk(one.told))
        memory.consolidate()
        text = memory.recall(one.question, budget=Budget(budget, WORDS)).text or ""
    assert text.find(one.newest) >= 0
    assert text.find(one.newest) < text.find(one.older) or one.older not in text
