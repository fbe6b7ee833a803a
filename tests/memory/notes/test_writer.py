"""Notes by a model: what it is asked, and what its answers change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from helpers.notes import MAY, PARAPHRASES, decision, say, scripted, texts, view
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import MalformedOutput, NotFound
from memagent.memory.notes.memory import NotesMemory
from memagent.memory.notes.prompts import CitingPrompts
from memagent.models.base import Request
from memagent.models.fake import Fake, GarbageModel
from memagent.store import Store
from memagent.types import Message

HAS_DOG = {"facts": [{"text": "Has a dog.", "messages": [1]}]}


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
    assert (note.id.partition("-")[0], note.text, note.valid_from) == (
        "n1",
        "The dog is called Waffle.",
        MAY + timedelta(days=1),
    )
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
        ([HAS_DOG, {"decisions": [decision("DELETE", id="n99")]}], "n99"),
        ([HAS_DOG, {"decisions": [decision("UPDATE", text="y")]}], "None"),
        ([HAS_DOG, {"decisions": [decision("ADD")]}], "no text"),
        ([HAS_DOG, {"decisions": [decision("ADD", "f7", text="y")]}], "f7"),
        ([HAS_DOG, {"decisions": []}], "decided nothing about f1"),
        ([HAS_DOG, {"decisions": [decision("MERGE", text="y")]}], "Decisions"),
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
    found, wrong = HAS_DOG, {"decisions": [decision("DELETE", id="n99")]}
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
@given(st.lists(st.tuples(st.sampled_from(["ADD", "UPDATE", "DELETE", "NONE"]), st.integers(1, 6)), max_size=5))
def test_only_the_note_named_by_the_model_is_ever_changed(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, int]]
) -> None:
    """The model of what should happen is a dictionary."""
    expected: dict[str, str] = {}
    with Store(tmp_path_factory.mktemp("notes"), embedder=None) as store:
        for number, (wanted, wish) in enumerate(plan):
            text, names = f"The parrot learned {'abcdefgh'[number] * 4}.", list(expected)
            place = wish % len(names) if names else None
            action = wanted if place is not None else "ADD"
            answer = decision(action, text=text, id=None if action == "ADD" else f"n{(place or 0) + 1}")
            seq = store.memory("notes").add(f"{text} Yes!").seq
            memory = NotesMemory(store, model=scripted({"facts": [{"text": text, "messages": [seq]}]}, {"decisions": [answer]}))
            made = [outcome.id for outcome in memory.consolidate().outcomes]
            if action == "ADD":
                expected[made[0]] = text
            elif action == "UPDATE" and place is not None:
                expected[names[place]] = text
            elif action == "DELETE" and place is not None:
                del expected[names[place]]
            assert {item.id: item.text for item in memory.items()} == expected


TALK = ("My name is Marta.", "I am allergic to peanuts.", "The wedding is on 14 June.", "I moved from Lyon to Gdansk.")


@pytest.mark.parametrize(
    "text",
    [
        "...",
        "70",
        "1.",
        "-",
        "string",
        "<fact>",
        "The user likes chess.",
        "Name and dates written out.",
        "Die Frau hat drei Hunde.",
    ],
)
def test_a_fact_that_nobody_told_is_refused_and_the_message_stays_as_it_is(store: Store, text: str) -> None:
    facts = {"facts": [{"text": text, "messages": [1]}, {"text": "Is allergic to peanuts.", "messages": [2]}]}
    model = scripted(facts, {"decisions": [decision("ADD", text="Is allergic to peanuts.")]})
    memory = NotesMemory(store, model=model)
    memory.add([Message(role="user", content=said) for said in TALK])
    memory.consolidate()
    assert texts(memory) == ["Is allergic to peanuts."]
    shown = view(memory, "anything")
    assert all(said in shown for said in TALK if "peanuts" not in said)
    assert text not in shown.replace("\u2039", "<").split("] ")


@pytest.mark.parametrize(
    "wrong",
    [
        decision("NONE", id="n1"),
        decision("UPDATE", id="n1", text="The wedding is on 14 June."),
        decision("UPDATE", id="n1", text="The wedding is on 14 June.", ended=True),
        decision("DELETE", id="n1"),
        decision("NONE"),
        decision("ADD", text="..."),
    ],
)
def test_a_note_that_shares_nothing_with_a_fact_is_left_alone_and_the_fact_is_noted(
    store: Store, wrong: dict[str, Any]
) -> None:
    first, second = "Is allergic to peanuts.", "The wedding is on 14 June."
    model = scripted(
        {"facts": [{"text": first, "messages": [1]}]},
        {"decisions": [decision("ADD", text=first)]},
        {"facts": [{"text": second, "messages": [2]}]},
        {"decisions": [wrong]},
    )
    memory = NotesMemory(store, model=model)
    say(memory, "I am allergic to peanuts.", "Our wedding is on 14 June.")
    assert texts(memory) == [first, second]


def test_a_note_keeps_its_names_and_numbers_unless_it_ended(store: Store) -> None:
    rewritten = decision("UPDATE", id="n1", text="Her son Tomek plays chess.")
    model = scripted(
        {"facts": [{"text": "Her son Tomek and her daughter Ola go to Hill School.", "messages": [1]}]},
        {"decisions": [decision("ADD", text="Her son Tomek and her daughter Ola go to Hill School.")]},
        {"facts": [{"text": "Her son Tomek plays chess.", "messages": [2]}]},
        {"decisions": [rewritten]},
    )
    memory = NotesMemory(store, model=model)
    say(memory, "My son Tomek and my daughter Ola go to Hill School.", "Tomek, my son, plays chess.")
    assert texts(memory) == ["Her son Tomek and her daughter Ola go to Hill School.", "Her son Tomek plays chess."]


@pytest.mark.parametrize("style", ["facts", "key_value"])
def test_a_small_model_writes_no_notes_and_that_is_said_once(
    store: Store, style: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = GarbageModel()
    model.small, model.name = True, f"tiny {style}"
    for _ in range(2):
        memory = NotesMemory(store, style=style, model=model)
    say(memory, *TALK)
    assert memory.pending_count() == 0
    assert len(memory.items()) == len(TALK)
    assert [one.getMessage().count("too small") for one in caplog.records] == [1]


def test_a_small_model_writes_notes_where_prompts_are_given_for_it(store: Store) -> None:
    model = scripted(HAS_DOG, {"decisions": [decision("ADD", text="Has a dog.")]})
    model.small = True
    memory = NotesMemory(store, model=model, prompts=CitingPrompts())
    say(memory, "I have a dog.")
    assert texts(memory) == ["Has a dog."]


def test_a_value_that_nobody_told_is_no_line_of_a_sheet(store: Store) -> None:
    lines = [
        {"label": "home city", "value": "Lyon", "messages": [1]},
        {"label": "age", "value": "34", "messages": [1]},
        {"label": "...", "value": "...", "messages": [1]},
        {"label": "pet", "value": "two parrots", "messages": [1]},
    ]
    memory = NotesMemory(store, style="key_value", model=scripted({"lines": lines}))
    say(memory, "I live in Lyon and I am 34.")
    assert [(item.label, item.text) for item in memory.items()] == [("home city", "Lyon"), ("age", "34")]
