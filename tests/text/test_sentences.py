"""Sentences and pieces of a text: nothing is lost but blanks, and what is no prose stays together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.text.sentences import LINE_CHARACTERS, is_question, pieces, sentences


@given(st.one_of(st.text(max_size=800), st.text("ab .!?。।¿…\n\t-|\"'»)🙂\u0301\u200d", max_size=800)))
def test_sentences_and_pieces_hold_every_sign_of_the_text(text: str) -> None:
    whole = "".join(text.split())
    for found in (sentences(text), pieces(text)):
        assert "".join("".join(found).split()) == whole
        assert all(0 < len(one) <= LINE_CHARACTERS + 1 for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "Shopping:\n- milk\n- eggs\n- salt",
        "| day | dish |\n|---|---|\n| Mon | soup |",
        "host: nas\nport: 22\nuser: ada",
        "```python\ndef f(x):\n    return x + 1\n```",
        "1. flour\n2. salt\n3. yeast",
    ],
)
def test_lists_tables_and_code_are_one_piece_with_their_line_breaks(text: str) -> None:
    assert pieces(text) == [text]


def test_prose_is_cut_into_sentences_whatever_ends_them() -> None:
    assert pieces('She said "Hi." Then Anna left.') == ['She said "Hi."', "Then Anna left."]
    assert pieces("家の猫が大好きです。隣の犬も大好きです！鳥は？") == [
        "家の猫が大好きです。",
        "隣の犬も大好きです！",
        "鳥は？",
    ]
    assert pieces("मुझे चाय पसंद है। मैं पुणे में रहता हूँ।") == ["मुझे चाय पसंद है।", "मैं पुणे में रहता हूँ।"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("।अ", ["।अ"]),
        ("...and then. Fine", ["...and then.", "Fine"]),
        ("I sing!\n🙂 👍\nShe dances.", ["I sing! 🙂 👍", "She dances."]),
        ("好。！他走。", ["好。！", "他走。"]),
        ("Ja.\n…nein!", ["Ja.", "…nein!"]),
        ("?!", ["?!"]),
        ("б。\n।！в", ["б。", "।！в"]),
    ],
)
def test_marks_and_emoji_alone_are_no_sentence(text: str, found: list[str]) -> None:
    assert sentences(text, join=False) == found


@pytest.mark.parametrize("text", ["Really?!", "Как дела? 🙂", "«Où ?»", "你呢？）", "أين؟", "Πού είναι η γάτα;", "ስምህ ማን ነው፧"])
def test_a_question_may_go_on_with_closing_marks_and_emoji(text: str) -> None:
    assert is_question(text)


@pytest.mark.parametrize("text", ["I said ok; fine;", "Why? Because.", "Ask? Me", "?.", ""])
def test_a_question_mark_elsewhere_asks_nothing(text: str) -> None:
    assert not is_question(text)


def test_facts_in_a_list_stand_alone_when_they_are_long() -> None:
    long = [
        "- I have lived in the old town of Lyon, near the station, since 2019",
        "- My daughter Emma plays the cello in an orchestra",
    ]
    assert pieces("\n".join([long[0] + " or so", "- tea", "- salt"])) == [long[0] + " or so", "- tea\n- salt"]


def test_a_sentence_that_amends_the_one_before_stays_with_it() -> None:
    text = "I have five grandchildren. Six, with little Jory."
    assert sentences(text) == pieces(text) == [text]
    assert len(sentences(text, join=False)) == 2
    assert len(sentences("I live in Rome. Six of my friends live there too.")) == 2


@pytest.mark.parametrize("text", ["é.\x0b ।k?", "Da.\n \u3000¿k?", "ok.\u2028\t…no"])
def test_marks_stay_in_their_line_whatever_blanks_begin_it(text: str) -> None:
    assert sentences(text, join=False) == [one for line in text.splitlines() for one in sentences(line, join=False)]
