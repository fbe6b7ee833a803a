"""What a question tells about the passage that is sought."""

from __future__ import annotations

import pytest

from memagent.retrieval.question import asks_assistant, named_in_order, without_names


@pytest.mark.parametrize(
    "question",
    [
        "What did you suggest for my knee?",
        "Which hotel did you recommend in Bergen?",
        "What was on your list of books?",
        "You told me a trick with onions once; what was it?",
        "Was hast du mir zum Abendessen empfohlen?",
        "Quel livre m'as-tu conseillé ?",
        "¿Qué hotel me recomendaste?",
        "Qual ristorante mi hai consigliato?",
        "你上次推荐了什么书？",
        "先週すすめてくれた本は何でしたか",
    ],
)
def test_a_question_about_what_the_assistant_said_is_recognised(question: str) -> None:
    assert asks_assistant(question)


@pytest.mark.parametrize(
    "question",
    [
        "What would you suggest for dinner?",
        "Can you recommend a hotel in Bergen?",
        "What did I tell you about my knee?",
        "What have I told you about Anna?",
        "What did Anna suggest?",
        "Do you know my sister's name?",
        "Was hast du gestern gekocht?",
        "我跟你说过什么？",
        "What is on my shopping list?",
    ],
)
def test_a_question_about_anything_else_is_not(question: str) -> None:
    assert not asks_assistant(question)


def test_names_leave_a_question_with_their_possessives() -> None:
    names = ["Ada Byron", "Bo"]
    assert without_names("What did Ada say about Bo's boat?", names) == "What did say about boat?"
    assert without_names("Where is the bookshop?", names) == "Where is the bookshop?"
    assert without_names("Bo?", names) == "Bo?", "nothing would be left"


def test_participants_are_named_in_the_order_of_the_question() -> None:
    assert named_in_order("Did Bo tell Ada?", ["Ada Byron", "Bo", "Cy"]) == ["Bo", "Ada Byron"]
    assert named_in_order("Did anybody?", ["Ada", "Bo"]) == []


@pytest.mark.parametrize(
    ("question", "names", "named"),
    [
        ("What is the plan of the week?", ["The Boss"], []),
        ("What did the boss say?", ["The Boss"], ["The Boss"]),
        ("Wann kommt der Zug?", ["Der Chef"], []),
        ("Que dit le patron ?", ["Le Patron", "La Voisine"], ["Le Patron"]),
        ("Will I see the sea?", ["Will Reed"], []),
        ("What did Will say?", ["Will Reed"], ["Will Reed"]),
        ("Did the who play?", ["The Who"], ["The Who"]),
    ],
)
def test_a_function_word_of_a_longer_name_names_nobody(question: str, names: list[str], named: list[str]) -> None:
    assert named_in_order(question, names) == named
