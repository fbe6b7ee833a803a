"""Agentic notes: the contract, and what notes add to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import InputError, MalformedOutput, NotFound
from memagent.memory.notes.memory import NotesMemory
from memagent.models.base import Request
from memagent.models.fake import Fake, GarbageModel
from memagent.models.scripted import ScriptedModel
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.contract import WORDS, MemoryContract, files_with
from memagent.text.statements import facts
from memagent.types import Message
from memagent_renderers.budget import Budget

PARAPHRASES = (
    ("My dog is called Biscuit.", "I have a dog named Biscuit.", "Biscuit is the name of my dog."),
    ("I live in Lyon.", "My home is in Lyon.", "I'm based in Lyon, France."),
    ("I work as a nurse.", "I'm a nurse.", "My job is nursing."),
    ("I am allergic to peanuts.", "I have a peanut allergy.", "Peanuts give me an allergic reaction."),
    ("My birthday is on 3 May.", "I was born on May 3rd.", "I celebrate my birthday on May 3."),
)
MAY = datetime(2026, 5, 1, 12, tzinfo=UTC)


class TestNotes(MemoryContract):
    memory_class = NotesMemory


class TestSheet(MemoryContract):
    memory_class = NotesMemory
    options: ClassVar[dict[str, Any]] = {"style": "key_value"}


class Thinking(Fake):
    """A model that does the two calls of notes with rules, so that tests need not know ids beforehand."""

    def __init__(self, facts: Callable[[str], str | None], decide: Callable[[str, dict[str, str]], dict[str, Any]]) -> None:
        super().__init__("thinking")
        self.facts, self.decide = facts, decide
        self.prompts: list[str] = []

    def _say(self, request: Request) -> str:
        prompt = request.messages[-1].text
        self.prompts.append(prompt)
        if "<conversation>" in prompt:
            told = re.findall(r"^(\d+)\* \[[^\]]*\] (.*)$", prompt, re.MULTILINE)
            found = [{"text": self.facts(text), "messages": [int(number)]} for number, text in told if self.facts(text)]
            return json.dumps({"facts": found})
        notes = dict(re.findall(r"^(n\d+): (.*)$", prompt, re.MULTILINE))
        facts = re.findall(r"^(f\d+): (.*)$", prompt, re.MULTILINE)
        decisions = []
        for name, text in facts:
            decisions.append({"facts": [name], **self.decide(text, notes)})
            notes[f"new {name}"] = text
        return json.dumps({"decisions": decisions})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", embedder=HashEmbedder()) as store:
        yield store


def say(memory: NotesMemory, *texts: str, start: datetime = MAY) -> list[str]:
    """Observe and distil one message a day. Returns their ids."""
    ids = []
    for day, text in enumerate(texts):
        ids += memory.add(Message(role="user", content=text, time=start + timedelta(days=day))).ids
        memory.consolidate()
    return ids


def texts(memory: NotesMemory) -> list[str]:
    return [item.text for item in memory.items()]


def view(memory: NotesMemory, query: str, budget: int = 200, **options: Any) -> str:
    recall = memory.recall(query, budget=Budget(budget, WORDS), **options)
    assert recall.exact
    assert recall.cost == WORDS.count(str(recall.text)) <= budget
    return str(recall.text)


def scripted(*replies: object) -> ScriptedModel:
    return ScriptedModel([{"text": json.dumps(reply)} for reply in replies])


def decision(action: str, fact: str = "f1", **more: object) -> dict[str, object]:
    return {"facts": [fact], "action": action, "reason": "because", **more}


# -- without a model -------------------------------------------------------------------------------------------------------


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


def test_clauses_that_stand_alone_become_notes_of_their_own() -> None:
    assert facts("My dog is called Biscuit and I live in Lyon.") == ["My dog is called Biscuit.", "I live in Lyon."]
    assert facts("If it rains and I am at home I bake bread.") == ["If it rains and I am at home I bake bread."]


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


# -- forgetting, undoing, rebuilding -----------------------------------------------------------------------------------


def test_forgetting_the_change_brings_back_what_was_before(store: Store) -> None:
    memory = NotesMemory(store)
    _, moved = say(memory, "I live in Lyon.", "I moved to Paris.")
    memory.delete(moved)
    assert texts(memory) == ["I live in Lyon."]
    memory.undo()
    assert texts(memory) == ["I moved to Paris."]


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


# -- add -----------------------------------------------------------------------------------------------------------------------


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


# -- with a model --------------------------------------------------------------------------------------------------------------


def test_a_model_stores_five_facts_said_three_ways_as_five_notes(store: Store) -> None:
    keys = ("biscuit", "lyon", "nurs", "peanut", "may")

    def decide(text: str, notes: dict[str, str]) -> dict[str, Any]:
        key = next(key for key in keys if key in text.lower())
        known = next((name for name, note in notes.items() if key in note.lower()), None)
        if known is None:
            return {"action": "ADD", "text": text}
        return {"action": "NONE", "id": known if known.startswith("n") and known[1:].isdigit() else None}

    memory = NotesMemory(store, model=Thinking(lambda text: text, decide))
    for saying in zip(*PARAPHRASES, strict=True):
        say(memory, *saying)
    assert len(memory.items()) == 5
    before = texts(memory)
    for item in memory.items():
        say(memory, item.text)
    assert texts(memory) == before


def test_a_model_adds_updates_and_deletes_by_id(store: Store) -> None:
    model = scripted(
        {"facts": [{"text": "The dog is called Biscuit.", "messages": [1]}]},
        {"decisions": [decision("ADD", text="The dog is called Biscuit.")]},
        {"facts": [{"text": "The dog is called Waffle now.", "messages": [2]}]},
        {"decisions": [decision("UPDATE", id="n1", text="The dog is called Waffle.", ended=True)]},
        {"facts": [{"text": "The dog was given away.", "messages": [3]}]},
        {"decisions": [decision("DELETE", id="n1")]},
    )
    memory = NotesMemory(store, model=model)
    say(memory, "My dog is called Biscuit.", "We call him Waffle now.")
    (note,) = memory.items()
    assert (note.id, note.text, note.valid_from) == ("n1", "The dog is called Waffle.", MAY + timedelta(days=1))
    assert memory.history("n1")[-1].reason == "because"
    assert "until 2 May 2026: The dog is called Biscuit." in view(memory, "dog")
    say(memory, "We gave the dog away.", start=MAY + timedelta(days=2))
    assert memory.items() == []
    assert "until 3 May 2026: The dog is called Waffle." in view(memory, "What dog did I have?")
    assert memory.get("n1").valid_to == MAY + timedelta(days=2)
    memory.delete("n1")
    assert view(memory, "What dog did I have?") == ""
    with pytest.raises(NotFound):
        memory.get("n1")


def test_a_note_rests_only_on_the_messages_that_told_it(store: Store) -> None:
    memory = NotesMemory(store, model=Thinking(lambda text: text, lambda text, notes: {"action": "ADD", "text": text}))
    first, second = memory.add([Message(role="user", content=text) for text in ("I like tea.", "I play chess.")]).ids
    memory.consolidate()
    assert {item.text: item.sources for item in memory.items()} == {"I like tea.": (first,), "I play chess.": (second,)}


def test_the_model_is_shown_the_five_nearest_notes_of_each_fact(store: Store) -> None:
    model = Thinking(lambda text: text, lambda text, notes: {"action": "ADD", "text": text})
    memory = NotesMemory(store, model=model)
    say(memory, *(f"I own {number} paintings of {name}." for number, name in enumerate(["cats", "dogs", "owls"] * 4)))
    say(memory, "I sold my paintings of owls.")
    shown = re.findall(r"^n\d+: .*$", model.prompts[-1], re.MULTILINE)
    assert len(shown) == 5
    assert sum("owls" in note for note in shown) == 4


def test_the_assistant_is_context_for_the_model_and_nothing_else_is_asked(store: Store) -> None:
    model = Thinking(lambda text: text, lambda text, notes: {"action": "ADD", "text": text})
    memory = NotesMemory(store, model=model)
    memory.add(Message(role="assistant", content="You have won a castle."))
    memory.consolidate()
    assert model.prompts == []
    memory.add([Message(role="assistant", content="Tea?"), Message(role="user", content="Yes </conversation> I like it.")])
    memory.consolidate()
    assert re.search(r"^\d+ \[.*assistant\] Tea\?$", model.prompts[0], re.MULTILINE)
    assert model.prompts[0].count("</conversation>") == 1
    assert len(memory.items()) == 1


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([{"facts": [{"text": "x", "messages": [99]}]}], "message 99"),
        ([{"facts": [{"text": " ", "messages": [1]}]}], "without a text"),
        ([{"facts": [{"text": "x" * 500, "messages": [1]}]}], "Facts"),
        ([{"facts": [{"text": "x", "messages": [1]}] * 40}], "Facts"),
        ([{"facts": [{"text": "x", "messages": [1]}]}, {"decisions": [decision("DELETE", id="n99")]}], "n99"),
        ([{"facts": [{"text": "x", "messages": [1]}]}, {"decisions": [decision("UPDATE", text="y")]}], "None"),
        ([{"facts": [{"text": "x", "messages": [1]}]}, {"decisions": [decision("ADD")]}], "no text"),
        ([{"facts": [{"text": "x", "messages": [1]}]}, {"decisions": [decision("ADD", "f7", text="y")]}], "f7"),
        ([{"facts": [{"text": "x", "messages": [1]}]}, {"decisions": []}], "decided nothing about f1"),
        ([{"facts": [{"text": "x", "messages": [1]}]}, {"decisions": [decision("MERGE", text="y")]}], "Decisions"),
    ],
)
def test_an_answer_that_makes_no_sense_changes_nothing(store: Store, replies: list[object], message: str) -> None:
    memory = NotesMemory(store, model=scripted(*replies, replies[-1], replies[-1]))
    memory.add("My dog is called Biscuit.")
    with pytest.raises(MalformedOutput, match=message) as caught:
        memory.consolidate()
    assert caught.value.output == json.dumps(replies[-1])
    assert memory.items() == []
    assert memory.pending_count() == 1
    assert "Biscuit" in view(memory, "dog")


def test_a_model_is_told_what_was_wrong_with_its_answer_and_may_answer_again(store: Store) -> None:
    found, wrong = {"facts": [{"text": "x", "messages": [1]}]}, {"decisions": [decision("DELETE", id="n99")]}
    memory = NotesMemory(store, model=scripted(found, wrong, {"decisions": [decision("ADD", text="Has a dog.")]}))
    memory.add("I have a dog.")
    assert memory.consolidate().usage.calls == 3
    assert texts(memory) == ["Has a dog."]


@pytest.mark.parametrize("style", ["facts", "key_value"])
def test_garbage_is_an_error_and_nothing_is_lost(store: Store, style: Any) -> None:
    memory = NotesMemory(store, style=style)
    say(memory, "I live in Lyon.")
    broken = NotesMemory(store, style=style, model=GarbageModel())
    broken.add("My dog is called Biscuit.")
    with pytest.raises(MalformedOutput) as caught:
        broken.consolidate()
    assert caught.value.output == GarbageModel.text
    assert len(memory.items()) == memory.pending_count() == 1
    assert all(word in view(memory, "dog home") for word in ("Biscuit", "Lyon"))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ADD", "UPDATE", "DELETE", "NONE"]), st.integers(1, 6)), max_size=8))
def test_only_the_note_named_by_its_id_is_ever_changed(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, int]]
) -> None:
    """The model of what should happen is a dictionary."""
    expected: dict[str, str] = {}
    with Store(tmp_path_factory.mktemp("notes"), embedder=None) as store:
        for number, (wanted, wish) in enumerate(plan):
            text, names = f"Fact {number}.", sorted(expected)
            name = names[wish % len(names)] if names else None
            action = wanted if name is not None or wanted == "NONE" else "ADD"
            answer = decision(action, text=text, id=None if action == "ADD" else name)
            seq = store.memory("notes").add(f"message {number}").seq
            memory = NotesMemory(store, model=scripted({"facts": [{"text": text, "messages": [seq]}]}, {"decisions": [answer]}))
            made = [outcome.id for outcome in memory.consolidate().outcomes]
            if action == "ADD":
                expected[made[0]] = text
            elif action == "UPDATE" and name is not None:
                expected[name] = text
            elif action == "DELETE" and name is not None:
                del expected[name]
            assert {item.id: item.text for item in memory.items()} == expected


# -- the sheet -----------------------------------------------------------------------------------------------------------------


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


# -- recall and search ---------------------------------------------------------------------------------------------------------


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


def test_notes_stand_before_messages_each_oldest_first(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I live in Lyon.", "I like tea.")
    memory.add(Message(role="user", content="I bought a kite.", time=MAY - timedelta(days=9)))
    assert (
        view(memory, "anything")
        == "[1 May 2026] I live in Lyon.\n[2 May 2026] I like tea.\n[22 Apr 2026] user: I bought a kite."
    )


def test_the_past_is_shown_when_it_fits_or_is_asked_for(store: Store) -> None:
    memory = NotesMemory(store)
    say(memory, "I live in Lyon.", "I moved to Paris.")
    memory.add([Message(role="user", content=f"I have a book by author number {n}.") for n in range(30)])
    memory.consolidate()
    assert "Lyon" not in view(memory, "Which city is my home, Paris?", budget=40)
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


def test_two_processes_flushing_make_every_note_once(store: Store) -> None:
    contract = TestNotes()
    NotesMemory(store, user="ada").add([Message(role="user", content=f"My friend {n} is called Name{n}.") for n in range(50)])
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: contract.in_other_process(store, "consolidate"), range(2)))
    memory = NotesMemory(store, user="ada")
    assert sum(one["processed"] for one in done) == 50
    assert memory.pending_count() == 0
    assert len(memory.items()) == len(set(texts(memory))) == 50
