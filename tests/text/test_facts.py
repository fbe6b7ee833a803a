"""What a message tells, fact by fact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.text.facts import FACT_CHARACTERS, asides, facts


def test_clauses_that_stand_alone_are_facts_of_their_own() -> None:
    assert facts("My dog is called Biscuit and I live in Lyon.") == ["My dog is called Biscuit.", "I live in Lyon."]
    assert facts("If it rains and I am at home I bake bread.") == ["If it rains and I am at home I bake bread."]


def test_a_sentence_that_leans_on_the_one_before_stays_with_it() -> None:
    assert facts("My son is Tom. He is three. I love him.") == ["My son is Tom. He is three.", "I love him."]


@pytest.mark.parametrize(
    "text",
    [
        "To buy:\n- milk\n- eggs",
        "Shopping:\nmilk\neggs\n2 kg flour",
        "1. sand the door\n2. paint it",
        "| day | dish |\n|---|---|\n| Mon | soup |",
        "host: nas\nport: 22\nuser: ada",
        "My script:\n```\ndef f(x):\n    return x\n```",
        "def f(x):\n    return x",
        "Zutaten:\n• Mehl\n• Milch",
    ],
)
def test_lists_tables_pairs_and_code_are_one_fact_with_the_line_that_introduces_them(text: str) -> None:
    assert facts(text) == [text]
    assert facts(f"I live in Lyon.\n\n{text}\n\nI like tea.") == ["I live in Lyon.", text, "I like tea."]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("我叫小明。我住在上海。你呢？", ["我叫小明。", "我住在上海。"]),
        ("私の名前はハルカです。", ["私の名前はハルカです。"]),
        ("ฉันชื่อมาลี", ["ฉันชื่อมาลี"]),
        (
            "Am 12. Oktober fahren wir nach Venedig. Ich bin 12. Mia auch.",
            ["Am 12. Oktober fahren wir nach Venedig.", "Ich bin 12.", "Mia auch."],
        ),
        ("Меня зовут Олег. Как дела?", ["Меня зовут Олег."]),
        ("اسمي ليلى. كيف حالك؟", ["اسمي ليلى."]),
    ],
)
def test_statements_of_any_script_and_language_are_facts(text: str, told: list[str]) -> None:
    assert facts(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "Vegan. I live in Lyon.",
        "Hi, I'm Omar. I run a bakery.",
        "Thanks, Anna is allergic to nuts. I forgot.",
        "When I was a child I lived in Oslo. It rained.",
        "Was at the doctor today: 140/90. All fine.",
        "Will is my brother. May is my sister.",
        "That restaurant in Lyon is called Chez Paul. I like it.",
        "Have a dog named Rex. Name of the vet: Dr. Hill.",
        "Biscuit",
    ],
)
def test_nothing_that_is_told_is_left_out(text: str) -> None:
    assert " ".join(facts(text)) == text


@pytest.mark.parametrize(
    "text",
    ["Hello there!", "Thanks a lot, that helps.", "How are you", "What is my name", "Do I live in Paris now", "ok", "Great!"],
)
def test_questions_and_pleasantries_tell_nothing(text: str) -> None:
    assert facts(text) == []
    assert facts(f"{text.rstrip('.')}. I like tea.") == ["I like tea."]


@given(st.one_of(st.text(max_size=300), st.text("ক ab.!?।。¿…\n\t-|:`#🙂\u0301\u200d", max_size=300)))
def test_facts_and_asides_are_the_whole_message(text: str) -> None:
    assert set("".join("".join([*facts(text), *asides(text)]).split())) == set("".join(text.split()))


def test_asides_are_what_tells_nothing() -> None:
    assert asides("Hi! I live in Lyon. What should I cook? ...\n\n- 🙂\n- 👍") == [
        "Hi!",
        "What should I cook? ...",
        "- 🙂\n- 👍",
    ]


def test_long_facts_are_cut_without_loss() -> None:
    block = "\n".join(f"- item {number} of the long list" for number in range(100))
    assert "\n".join(facts(block)) == block
    assert max(map(len, facts(block))) <= FACT_CHARACTERS
    assert sum(len(one) for one in facts("y" * 700 + "x" * 701)) == 1401


def test_what_amends_a_sentence_is_one_fact_with_it() -> None:
    assert facts("We meet at noon. No, at one.") == ["We meet at noon. No, at one."]
    assert facts("We meet at noon. No thanks.") == ["We meet at noon."]
