"""Answers out of what was told: quoted where it is there, "I don't know" where it is not, and none about the world."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.grounding import UNKNOWN, UserStatement, grounded_answer, told_and_asked, told_in
from memagent.types import Recall, Source

HOME = ("I'm Elif, I run a guest house in Kaş.", "My nephew Deniz is nine and plays the oboe.", "Our boat is a Bavaria 37.")


def answer(question: str, *said: str) -> str:
    found = grounded_answer(question, [UserStatement(text, None) for text in said])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("question", "said", "quoted"),
    [
        ("What instrument does my nephew play?", HOME, "oboe"),
        ("What is my nephew's name?", HOME, "Deniz"),
        ("Which boat do we have?", HOME, "Bavaria 37"),
        ("Who died in spring?", ("My goats are Ute and Berta.", "Our Ute died in spring."), "Ute died"),
        ("Why did I leave Basel?", ("I left Basel because the rent was mad.",), "because the rent"),
        ("Who drives me to work?", ("My brother Nils drives me to work.",), "Nils"),
        ("What club do I run?", ("ok so i run the bridge club here",), "bridge club"),
        ("how old is yolanda", ("our best player is yolanda, shes 31",), "31"),
        ("What pet do I have?", ("My sister has a parrot.", "I keep a tortoise in the yard."), "tortoise"),
        ("Wie heisst meine Ziege?", ("Meine Ziege heißt Berta.", "Mein Hof liegt bei Passau."), "Berta"),
        ("Où habite ma tante ?", ("Ma tante Odile habite à Reims.",), "Reims"),
        ("¿Cuándo es la boda?", ("La boda es el 4 de mayo.",), "4 de mayo"),
        ("Dove lavora mio zio?", ("Mio zio Piero lavora in una vetreria a Murano.",), "vetreria"),
        ("兄の仕事は何ですか？", ("兄の仕事は大工です。",), "大工"),
        ("我的猫叫什么名字？", ("我的猫叫团团。", "我住在成都。"), "团团"),
        ("猫の名前は何ですか？", ("猫を飼っています。名前はタマです。",), "タマ"),
        ("How old is bruno?", ("we have a pony called bruno hes 11",), "11"),
        ("Who is in room 4?", ("Room 4 is Ms Adeyemi.", "Room 5 is empty."), "Adeyemi"),
    ],
)
def test_what_was_told_is_quoted(question: str, said: tuple[str, ...], quoted: str) -> None:
    found = answer(question, *said)
    assert found.startswith("You said")
    assert quoted in found


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("What is my niece's name?", HOME),
        ("How old is my brother?", HOME),
        ("What is my boat's name?", HOME),
        ("Which bank do I use?", ("My cousin works in a bank in Izmir.",)),
        ("What is my dog called?", ("My best friend has a dog, it is called Taco.",)),
        ("What is our cat called?", ("If we had a cat, I would call it Miso.",)),
        ("How old is Peggy?", ("I play bridge with Peggy from two till five.",)),
        ("Where does my sister live?", ("My sister is a surgeon.", "My brother lives in Turin.")),
        ("Who is Efua marrying?", ("Efua is getting married on 20 December.",)),
        ("Wie heißt mein Onkel?", ("Meine Tante heißt Ilse.",)),
        ("¿Dónde vive mi hermano?", ("Mi hermana vive en Mérida.",)),
        ("母の名前は何ですか？", ("犬の名前はきなこです。",)),
        ("What is my husband's name?", ("Ottilie's husband sails for Maersk.",)),
        ("Who is in room 7?", ("Room 4 is Ms Adeyemi.",)),
        ("how old is yolanda", ("our best player is yolanda",)),
        ("whats margarets surname", ("margaret does the tea", "my surname is kettle")),
        ("Which club do I go to?", ("I go to a local club on Fridays.",)),
        ("How old is bruno?", ("we have a pony called bruno", "brunos birthday is 6 nov")),
    ],
)
def test_what_was_never_told_is_not_known(question: str, said: tuple[str, ...]) -> None:
    assert "I don't know" in answer(question, *said)


@pytest.mark.parametrize(
    "question", ["What is my name?", "Where do we live", "When is the MOT due?", "Wie heiße ich?", "私は誰？"]
)
def test_of_a_user_who_told_nothing_nothing_is_known(question: str) -> None:
    assert answer(question) == UNKNOWN


@pytest.mark.parametrize(
    ("question", "said", "now", "before"),
    [
        ("Where do I live?", ("I live in Leiden.", "I moved from Leiden to Utrecht in May."), "Utrecht", "Leiden"),
        ("What car do I drive?", ("I drive a Golf.", "I sold the Golf and bought a Zoe."), "Zoe", "Golf"),
        ("Who is my boss?", ("My boss is Tormod.", "Tormod left, so my new boss is Aslaug."), "Aslaug", "Tormod"),
        ("What is my phone number?", ("My phone number is 555-0199.", "New phone number: 555-0733."), "0733", "0199"),
        (
            "Welches Rad habe ich?",
            ("Mein Rad ist ein Cube.", "Das Rad wurde geklaut, jetzt habe ich ein Canyon."),
            "Canyon",
            "Cube",
        ),
        (
            "Which firm do I work for?",
            ("I work for a firm called Vantera.", "I left Vantera, I'm with Maasline now."),
            "Maasline",
            "Vantera",
        ),
        ("Quando è la visita?", ("La visita è il 3 maggio.", "Scusa, la visita è il 9."), "9", "3"),
        ("What is the door code?", ("The door code is 4410.", "No wait, it's 4401."), "4401", "4410"),
        ("Wann ist das Turnier?", ("Das Turnier ist am 4. Mai.", "Nein, sorry, es ist am 11. Mai."), "11. Mai", "4. Mai"),
        ("¿Cuándo es la cena de Nuria?", ("La cena de Nuria es el 4 de mayo.", "En realidad la cena es el 6."), "6", "4"),
        ("どこに住んでいますか？", ("仙台に住んでいます。", "先月、仙台から盛岡に引っ越しました。"), "盛岡", "仙台"),
    ],
)
def test_where_statements_disagree_the_newest_stands_first(question: str, said: tuple[str, ...], now: str, before: str) -> None:
    found = answer(question, *said)
    assert before not in found[: found.index(now)]


@pytest.mark.parametrize(
    ("asked_on", "found"),
    [
        (3, "You said on 2 May 2026: “Now my goat is called Ute.” Before that on 1 May 2026: “My goat is called Berta.”"),
        (2, "You said today: “Now my goat is called Ute.” Before that on 1 May 2026: “My goat is called Berta.”"),
    ],
)
def test_quotes_tell_their_days(asked_on: int, found: str) -> None:
    days = [datetime(2026, 5, day, 9, tzinfo=UTC) for day in (1, 2)]
    told = [UserStatement("My goat is called Berta.", days[0]), UserStatement("Now my goat is called Ute.", days[1])]
    assert grounded_answer("What is my goat called?", told, now=datetime(2026, 5, asked_on, 10, tzinfo=UTC)) == found


def test_what_was_said_twice_is_quoted_once_with_its_last_day() -> None:
    days = [datetime(2026, 5, day, 9, tzinfo=UTC) for day in (1, 2, 3)]
    said = ("Ma chèvre s'appelle Berta.", "Ma chèvre s'appelle Ute.", "Ma chèvre s'appelle Ute.")
    told = [UserStatement(text, day) for text, day in zip(said, days, strict=True)]
    found = grounded_answer("Comment s'appelle ma chèvre ?", told, now=days[2])
    assert found is not None
    assert found.count("Ute") == 1
    assert found.startswith("You said today: “Ma chèvre s'appelle Ute.”")


@pytest.mark.parametrize(
    "question",
    [
        "Who wrote Hamlet?",
        "What is the capital of France?",
        "What is the boiling point of water?",
        "How many days are in a week?",
        "What is the largest planet?",
        "Can you explain gravity?",
        "Please write me a packing list for the beach.",
        "Tell me about the Romans.",
        "Give me advice on nephew presents.",
        "How much should a nephew sleep?",
        "Why?",
    ],
)
def test_a_question_about_the_world_is_none_of_memorys(question: str) -> None:
    assert grounded_answer(question, [UserStatement(text, None) for text in HOME]) is None
    assert grounded_answer(question, []) is None


def test_a_message_is_what_it_tells_and_what_it_asks() -> None:
    assert told_and_asked("My dog is called Biscuit. What is my dog called?") == (
        ["My dog is called Biscuit."],
        "What is my dog called?",
    )
    assert told_and_asked("Hello!") == ([], "")
    assert told_and_asked("私は医者です。私の仕事は？") == (["私は医者です。"], "私の仕事は？")


def test_only_the_users_statements_that_an_eye_has_read_are_told() -> None:
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]  # by a clock that was set back
    sources = (
        Source(id="a", text="My goat is called Berta.", time=days[0], seq=3),
        Source(id="b", text="I sail on Sundays.", time=days[1], seq=2),
        Source(id="c", text="Your goat is called Ute.", role="assistant", time=days[2]),
    )
    view = Recall(text="", cost=0, budget=9, kind="memocr", exact=True, sources=sources)
    assert [one.text for one in told_in(view, read=None)] == ["I sail on Sundays.", "My goat is called Berta."]
    assert [one.text for one in told_in(view, read="My goat is cal1ed Berta.\nl sai1 0n")] == ["My goat is called Berta."]


def test_the_name_and_day_that_a_page_writes_beside_a_statement_are_no_words_of_the_user() -> None:
    said = datetime(2026, 1, 3, tzinfo=UTC)
    shown = Source(id="a", text="Ada: I stopped smoking. (3 Jan 2026)", speaker="Ada", time=said, seq=1)
    view = Recall(text="", cost=0, budget=9, kind="memocr", exact=True, sources=(shown,))
    assert [one.text for one in told_in(view, read=None)] == ["I stopped smoking."]


@given(st.text(max_size=60), st.lists(st.text(max_size=80), max_size=6))
def test_any_text_is_answered_and_nothing_is_said_that_was_not_told(question: str, said: list[str]) -> None:
    found = grounded_answer(question, [UserStatement(text, None) for text in said])
    quotes = (found or "").split("“")[1:]
    joined = " ".join(" ".join(text.split()) for text in said)
    for quote in quotes:
        for word in quote.rpartition("”")[0].replace("… ", "").split():
            assert word in joined
