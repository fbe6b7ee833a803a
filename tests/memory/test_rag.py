"""`rag`: everything while it fits, else the passages that answer best, in the order in which they were said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers.corrections import CORRECTIONS, Correction, talk

from memagent.memory.rag import RagMemory
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.contract import WORDS
from memagent.types import Message
from memagent_renderers.budget import Budget

PETS = ("dog", "cat", "parrot", "hamster", "tortoise", "rabbit", "goat", "pony", "duck", "ferret")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[RagMemory]:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")
        memory.add([f"My {pet} is called {pet.title()}son." for pet in PETS])
        yield memory


def test_while_everything_fits_everything_is_shown_in_order_and_nothing_is_ranked(memory: RagMemory) -> None:
    recall = memory.recall("What is my goat called?", budget=Budget(500, WORDS))
    assert recall.text is not None
    assert [line.split()[-1] for line in recall.text.splitlines()] == [f"{pet.title()}son." for pet in PETS]
    assert recall.dropped == 0
    assert {source.score for source in recall.sources} == {None}


def test_what_does_not_fit_is_ranked_and_counted(memory: RagMemory) -> None:
    recall = memory.recall("What is my goat called?", budget=Budget(30, WORDS))
    assert recall.text is not None
    assert "Goatson" in recall.text
    assert recall.dropped == len(PETS) - len(recall.sources)
    assert max(recall.sources, key=lambda source: source.score or 0).text == "My goat is called Goatson."
    assert memory.recall("", budget=Budget(30, WORDS)).sources[-1].text.startswith("My ferret")


def test_a_passage_of_a_long_message_is_shown_with_its_day_and_speaker(memory: RagMemory) -> None:
    filler = "The weather was mild and nothing much happened that day. " * 60
    memory.add(Message(role="user", content=f"{filler}The safe opens with 4711. {filler}", speaker="Bo"))
    recall = memory.recall("What opens the safe?", budget=Budget(300, WORDS))
    assert recall.text is not None
    assert "4711" in recall.text
    assert "Bo: " in recall.text


def test_the_embedder_is_not_loaded_while_everything_fits(tmp_path: Path) -> None:
    with Store(tmp_path, embedder="hash") as store:
        loaded: list[Embedder] = []
        original = store.backend.embedder
        store.backend.embedder = lambda: loaded.append(original()) or loaded[-1]  # type: ignore
        memory = store.memory("rag")
        memory.add("My dog is called Biscuit.")
        assert "Biscuit" in str(memory.recall("dog", budget=100).text)
        assert loaded == []


def test_without_an_embedder_words_rank(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add([f"My {pet} is called {pet.title()}son." for pet in PETS])
        assert "Duckson" in str(memory.recall("How is the duck called?", budget=Budget(20, WORDS)).text)


def test_a_sentence_in_the_middle_of_a_long_message_is_shown_at_a_small_budget(tmp_path: Path) -> None:
    filler = [
        f"Paragraph {number} of the report speaks about harbours, cranes and the tide tables of the north."
        for number in range(60)
    ]
    filler[31] = "The code of the safe in the cellar is 4417."
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add([" ".join(filler), *(f"We talked about boats, day {number}." for number in range(40))])
        recall = memory.recall("What is the code of the safe?", budget=120)
        assert "4417" in (recall.text or "")
        assert recall.cost <= 120
        assert recall.dropped >= 1, "the rest of the long message is not shown"


def test_a_message_is_counted_as_dropped_until_all_its_passages_are_shown(tmp_path: Path) -> None:
    text = " ".join(f"Sentence number {number} about the harbour of the north." for number in range(60))
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add(text)
        assert memory.recall("harbour", budget=200).dropped == 1
        whole = memory.recall("harbour", budget=4000)
        assert (whole.dropped, text in (whole.text or "")) == (0, True)


@pytest.mark.parametrize(
    ("fact", "correction", "question", "old", "new"),
    [
        (
            "I live in Lyon, near the station.",
            "I packed all the boxes and moved to Gdansk.",
            "Where do I live now?",
            "Lyon",
            "Gdansk",
        ),
        ("I work at Arcadis.", "I started at Siemens.", "Which firm do I work at?", "Arcadis", "Siemens"),
    ],
)
def test_a_correction_is_shown_before_what_it_corrects(
    tmp_path: Path, fact: str, correction: str, question: str, old: str, new: str
) -> None:
    turns = ["I cooked a pot of soup with leeks", "We watched a film about whales", "The train was late again"]
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add([fact, *(f"{turns[k % 3]}, number {k}." for k in range(60))])
        memory.add([correction, *(f"{turns[k % 3]}, number {k}." for k in range(60, 120))])
        text = memory.recall(question, budget=160).text or ""
    assert -1 < text.find(new) < text.find(old)


@pytest.mark.parametrize("one", CORRECTIONS)
@pytest.mark.parametrize("budget", [60, 400])
def test_the_newest_value_comes_first_whether_all_fits_or_not(tmp_path: Path, one: Correction, budget: int) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add(talk(one.told))
        text = memory.recall(one.question, budget=Budget(budget, WORDS)).text or ""
    assert -1 < text.find(one.newest) < text.find(one.older)


def test_a_wish_and_what_another_voice_says_move_nothing(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add(
            ["I live in Lyon.", "If I moved to Rome I would be happy.", Message(role="assistant", content="I moved to Bonn.")]
        )
        lines = (memory.recall("Where do I live?", budget=400).text or "").splitlines()
    assert [line.split()[-1] for line in lines] == ["Lyon.", "happy.", "Bonn."]


@pytest.mark.parametrize("question", ["What do I have on 3 May?", "Was habe ich am 3. Mai?", "What is on today?"])
def test_a_day_that_a_message_names_is_found_as_seen_from_the_day_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    today = datetime(2026, 5, 3, 9, tzinfo=UTC)
    monkeypatch.setattr("memagent.retrieval.searcher.now", lambda: today)
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add(Message(role="user", content="The dentist is in a fortnight.", time=today - timedelta(days=14)))
        for number in range(40):
            said = today - timedelta(days=60 - number)
            memory.add(Message(role="user", content=f"I read chapter {number} of the novel.", time=said))
        assert "dentist" in (memory.recall(question, budget=40).text or "")
