"""Which sentences take back or amend what was said just before."""

from __future__ import annotations

import pytest

from memagent.text.amendments import amended, amends, opening, without_own_words


@pytest.mark.parametrize(
    ("sentence", "rest"),
    [
        ("No wait, it's 37.", "it's 37."),
        ("Oh, sorry, scratch that: Darren.", "Oh, sorry, scratch that: Darren."),
        ("Sorry, scratch that: Darren.", "Darren."),
        ("Nein, Moment, am Freitag.", "am Freitag."),
        ("No, perdón, el martes.", "el martes."),
        ("不对，是李大夫。", "是李大夫。"),
        ("いや、水曜日です。", "水曜日です。"),
        ("No one came.", "No one came."),
        ("No vivo en Roma.", "No vivo en Roma."),
        ("Nie mieszkam w Krakowie.", "Nie mieszkam w Krakowie."),
        ("不是我。", "不是我。"),
        ("", ""),
    ],
)
def test_an_opening_is_what_takes_back_and_no_denial(sentence: str, rest: str) -> None:
    assert sentence[opening(sentence) :] == rest


@pytest.mark.parametrize(
    ("sentence", "before"),
    [
        ("Six, with little Jory.", "I have five grandchildren."),
        ("Thursday, actually.", "We meet on Monday."),
        ("Vier, mit der neuen.", "Mein Bruder hat drei Katzen."),
        ("Pardon, en mai.", "On se voit en avril."),
        ("四時です。", "会議は三時です。"),
        ("Нет, три.", "У меня две кошки."),
    ],
)
def test_a_bare_value_amends_one_of_its_kind(sentence: str, before: str) -> None:
    assert amends(sentence, before)


@pytest.mark.parametrize(
    ("sentence", "before"),
    [
        ("Six, with little Jory.", "I live in Rome."),
        ("Two of them live in Rome.", "I have three sisters."),
        ("Sorry, I am late.", "I live in Rome."),
        ("No one came.", "I live in Rome."),
        ("I have two dogs.", "I have one cat."),
        ("No.", "I live in Rome."),
    ],
)
def test_a_sentence_of_its_own_amends_nothing(sentence: str, before: str) -> None:
    assert not amends(sentence, before)


def test_what_is_taken_back_may_stand_a_few_sentences_earlier() -> None:
    said = ["I weigh 82 kilos.", "I like figs.", "It rained."]
    assert amended("Actually make that 79.", said) == 0
    assert amended("Seventy nine, actually.", said) is None, "nothing is taken back"
    assert amended("Sorry, in Galway.", said) == 2, "no value says which"
    assert amended("Sorry, make that 5.", []) is None


def test_ones_own_words_are_no_quotation() -> None:
    assert "said" not in without_own_words("Forget what I just said about Anna.")
    assert "said" in without_own_words("Forget what Anna said.")
