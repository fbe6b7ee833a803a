"""The score: what each of its terms is for, on talk of people and on chats with an assistant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from memagent.retrieval import scoring
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.types import Message, Role
from tests.helpers.word_states import WordStates

TIME = datetime(2024, 3, 4, 12, tzinfo=UTC)
FILLER = ["The kettle is on.", "It rained again.", "My train was late.", "Lunch was fine.", "The cat sleeps."]


def said(lines: list[tuple[Role, str]], *, speakers: tuple[str, ...] = ()) -> list[Message]:
    return [
        Message(role=role, content=text, time=TIME + timedelta(days=row), speaker=speakers[row % 2] if speakers else None)
        for row, (role, text) in enumerate(lines)
    ]


def best(path: Path, messages: list[Message], question: str, *, embedder: Embedder | None = None) -> str:
    with Store(path, embedder=embedder or WordStates()) as store:
        memory = store.memory("rag")
        memory.add(messages)
        return memory.search(question, limit=1)[0].item.text


ANSWER = "For a stiff shoulder try the wall stretch. " + " ".join(f"Then rest for {number} breaths." for number in range(90))
CHAT: list[tuple[Role, str]] = [
    *(("user", text) for text in FILLER),
    ("user", "My shoulder is stiff after rowing."),
    ("assistant", ANSWER),
    ("user", "Thanks, now something else: a soup."),
    ("assistant", "Leek and potato soup takes half an hour."),
    *(("user", f"{text} Twice.") for text in FILLER),
]


@pytest.mark.parametrize("embedder", [WordStates(), HashEmbedder(dimension=64), None])
def test_what_the_user_said_comes_before_the_long_answer_unless_the_answer_is_asked_for(
    tmp_path: Path, embedder: Embedder | None
) -> None:
    with Store(tmp_path, embedder=embedder) as store:
        memory = store.memory("rag")
        memory.add(said(CHAT))
        for question, wanted in (
            ("Which shoulder is stiff?", ["user", "user"]),
            ("What did you suggest for rest?", ["assistant"]),
        ):
            found = [one.item.role for one in memory.search(question, limit=len(wanted))]
            assert found == wanted, question


def test_a_message_of_many_passages_is_found_once(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=WordStates()) as store:
        memory = store.memory("rag")
        memory.add(said(CHAT))
        found = [one.item.id for one in memory.search("What did you say about rest and breaths?", limit=5)]
    assert len(set(found)) == 5


def test_words_of_a_question_may_be_spread_over_a_turn_and_its_reply(tmp_path: Path) -> None:
    lines: list[tuple[Role, str]] = [
        *(("user", text) for text in FILLER),
        ("user", "Is the violin from Cremona?"),
        ("user", "Grandfather bought it there, yes."),
        *(("user", f"{text} Honestly.") for text in FILLER),
        ("user", "Grandfather had a boat."),
    ]
    assert best(tmp_path, said(lines), "the Cremona violin that grandfather bought").startswith(
        ("Is the violin", "Grandfather bought")
    )


@pytest.mark.parametrize(
    "question", ["Where did I swim on 20 March 2024?", "Where did I swim on March 20?", "我3月20日在哪里游泳？"]
)
def test_the_days_that_a_question_names_bring_their_messages_up(tmp_path: Path, question: str) -> None:
    lines: list[tuple[Role, str]] = [("user", "I swam.") for _ in range(40)]
    with Store(tmp_path, embedder=WordStates()) as store:  # whose last day lies before this year's March, if need be
        memory = store.memory("rag")
        memory.add(said(lines))
        time = memory.search(question, limit=1)[0].item.time
    assert time is not None
    assert time.date() == date(2024, 3, 20)


def test_the_person_whom_a_question_names_first_is_asked_about(tmp_path: Path) -> None:
    lines: list[tuple[Role, str]] = [("user", text) for text in ("I bake bread.", "I bake bread too.", *FILLER)]
    messages = said(lines, speakers=("Ada", "Bo"))
    assert best(tmp_path / "1", messages, "Does Bo bake bread as Ada does?") == "I bake bread too."
    assert best(tmp_path / "2", messages, "Does Ada bake bread as Bo does?") == "I bake bread."


@pytest.mark.slow
def test_a_large_memory_ranks_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent.evaluation.store import made_up_texts

    texts = made_up_texts(1_200)
    with Store(tmp_path, embedder=WordStates()) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", content=text) for text in texts])
        memory.consolidate()
        whole = [[one.item.id for one in memory.search(text, limit=5)] for text in texts[::100]]
        monkeypatch.setattr(scoring, "STATES_LIMIT", 100)
        part = [[one.item.id for one in memory.search(text, limit=5)] for text in texts[::100]]
        monkeypatch.setattr(scoring, "COMPLETE_LIMIT", 100)
        candidates = [[one.item.id for one in memory.search(text, limit=5)] for text in texts[::100]]
    for other in (part, candidates):
        assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(whole, other, strict=True)]) >= 0.8


def test_token_states_are_stored_and_read_again(tmp_path: Path) -> None:
    first, second = WordStates(), WordStates()
    for embedder in (first, second):
        with Store(tmp_path, embedder=embedder) as store:
            memory = store.memory("rag")
            if embedder is first:
                memory.add(said(CHAT))
                memory.consolidate()
            assert memory.search("the shoulder", limit=1)
            index = store.backend.searcher("default").index
            assert index.tokens is not None
            speaks = index.of_assistant(np.arange(len(index)))
            assert ((index.tokens.numbers(np.arange(len(index))) > 0) == ~speaks).all(), "answers have none"
    assert second.asked == ["the shoulder"]


@pytest.mark.parametrize("before", [None, "words-0"])
def test_a_store_without_states_or_with_others_gets_them_when_it_is_consolidated(tmp_path: Path, before: str | None) -> None:
    with Store(tmp_path, embedder=WordStates(before) if before else HashEmbedder(dimension=64)) as store:
        store.memory("rag").add(said(CHAT))
        store.memory("rag").consolidate()
    with Store(tmp_path, embedder=(now := WordStates())) as store:
        memory = store.memory("rag")
        assert memory.search("the shoulder", limit=1)
        assert now.asked == ["the shoulder"], "nobody waits for that"
        memory.consolidate()
        index = store.backend.searcher("default").index
        assert index.tokens is not None
        assert index.tokens.form == "words-1"
        assert index.tokenized.rows.all()
        assert memory.search("the shoulder", limit=1)


def articles(*told: tuple[str, str]) -> list[Message]:
    """A document for each title: what it tells, and enough other words to be an article."""
    rest = [" ".join(f"{title.split()[-1].lower()}{number}" for number in range(30)) for title, _ in told]
    return [
        Message(role="user", speaker=title, content=f"{text} {more}.", time=TIME)
        for (title, text), more in zip(told, rest, strict=True)
    ]


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (
            "Who painted the harbour at the edge of Visby?",
            (
                ("The Harbour", "A novel about two brothers and a storm."),
                ("Marta Lindqvist", "She painted the harbour at Visby."),
                ("Edge of the World", "A song about a lighthouse."),
            ),
        ),
        (
            "In welcher Stadt steht die Brauerei, in der Otto Kranz lernte?",
            (
                ("Die Stadt", "Ein Roman von zwei Schwestern."),
                ("Kranz", "Eine Form aus Zweigen."),
                ("Löwenbräuhaus", "Die Brauerei, in der Otto Kranz lernte, steht in Passau."),
            ),
        ),
    ],
)
def test_the_title_of_a_document_is_no_participant(tmp_path: Path, question: str, told: tuple[tuple[str, str], ...]) -> None:
    embedder = WordStates()
    with Store(tmp_path, embedder=embedder) as store:
        memory = store.memory("rag")
        for number, message in enumerate(articles(*told)):
            memory.add(message, session=f"document {number}")
        memory.consolidate()
        found = memory.search(question, limit=1)[0].item.text
        assert embedder.asked[-1] == question, "its words are compared by meaning"
    assert question.rsplit(maxsplit=1)[-1].strip("?.") in found


def test_beside_documents_the_people_of_a_talk_are_still_participants(tmp_path: Path) -> None:
    embedder = WordStates()
    with Store(tmp_path, embedder=embedder) as store:
        memory = store.memory("rag")
        for number, message in enumerate(articles(("Bread", "Bread is baked from dough."), ("Bo", "A town where they bake."))):
            memory.add(message, session=f"document {number}")
        lines: list[tuple[Role, str]] = [("user", text) for text in ("I bake bread.", "I bake bread too.", *FILLER)]
        memory.add(said(lines, speakers=("Ada", "Bo")), session="talk")
        memory.consolidate()
        assert memory.search("Does Bo bake bread?", limit=1)[0].item.text == "I bake bread too."
        assert embedder.asked[-1] == "Does bake bread?"


def test_who_keeps_a_diary_is_a_participant(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=WordStates()) as store:
        memory = store.memory("rag")
        told = (("Ada", "I bake bread."), ("Bo", "I bake bread too."), ("Ada", "It rained."), ("Bo", "It rained again."))
        for number, message in enumerate(articles(*told)):
            memory.add(message, session=f"day {number}")
        assert memory.search("Does Bo bake as Ada does?", limit=1)[0].item.text.startswith("I bake bread too.")
        assert set(store.backend.searcher("default").index.talk().participants) == {"Ada", "Bo"}
