"""What corrects a line, clause by clause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.text.corrections import ANOTHER_VALUE, may_correct, name_alike, outdates
from tests.helpers.corrections import AMENDED, CORRECTIONS


@pytest.mark.parametrize(
    ("new", "old", "question"),
    [
        ("I moved from Lyon to Gdansk last week.", "My name is Marta and I live in Lyon.", "Where do I live now?"),
        ("My new phone number is 555-9876.", "My phone number is 555-1234.", ""),
        ("Ich wohne jetzt in Berlin.", "Ich wohne in Köln.", "Wo wohne ich?"),
    ],
)
def test_another_value_of_what_was_asked_outdates_the_line(new: str, old: str, question: str) -> None:
    assert outdates(new, old, question) >= ANOTHER_VALUE


def test_a_change_of_what_it_is_about_outdates_a_line_perhaps() -> None:
    weight = outdates("I packed all the boxes and moved to Gdansk.", "I live in Lyon, near the station.")
    assert 0 < weight < ANOTHER_VALUE


@pytest.mark.parametrize(
    ("new", "old", "question"),
    [
        ("I moved from Lyon to Gdansk.", "My name is Marta and I live in Lyon.", "What is my name?"),
        ('My mom said: "I live in Dublin now."', "I live in Lyon.", "Where do I live?"),
        ("Should I move to Rome?", "I live in Lyon.", "Where do I live?"),
        ("I cooked soup.", "I live in Lyon.", "Where do I live?"),
        ("", "", ""),
    ],
)
def test_other_matters_quotes_and_questions_outdate_nothing(new: str, old: str, question: str) -> None:
    assert outdates(new, old, question) == 0


@pytest.mark.parametrize(
    ("line", "may"),
    [
        ("I moved to Gdansk.", True),
        ("Ich rauche nicht mehr.", True),
        ("My dog is called Rex.", True),
        ("Las reuniones son ahora los jueves.", True),
        ("The market had apricots.", False),
        ("If I moved to Rome I would be happy.", False),
    ],
)
def test_only_lines_that_tell_of_a_value_or_a_change_can_correct(line: str, may: bool) -> None:
    assert may_correct(line) is may


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("Der Zug fährt heute von Gleis 7.", "Der Zug fährt von Gleis 4."),
        ("Mon fils a neuf ans.", "Mon fils a huit ans."),
        ("Встреча в пять.", "Встреча в три."),
        ("The choir meets on Friday.", "The choir meets on Monday."),
    ],
)
def test_the_same_with_another_value_of_its_kind_outdates_a_line_perhaps(new: str, old: str) -> None:
    assert 0 < outdates(new, old) < ANOTHER_VALUE


@pytest.mark.parametrize(
    ("new", "old", "question"),
    [
        ("The train leaves at 8.", "The choir has 7 singers.", ""),
        ("I have three cats.", "I have two dogs.", ""),
        ("My friend number 9 is called Ben.", "My friend number 4 is called Ann.", "What is my friend number 4 called?"),
        ("Would you like 3?", "I have 2 cats.", ""),
    ],
)
def test_another_value_of_something_else_outdates_nothing(new: str, old: str, question: str) -> None:
    assert outdates(new, old, question) == 0


_LINES = [line for one in CORRECTIONS for line in one.told] + [message for message, *_ in AMENDED]
_LINES += [
    "We meet at 3.",
    "The bus from 7 is at 9, and my train leaves from platform 4.",
    "Is it Monday?",
    "The tea is red; Ann likes it.",
]


@given(st.lists(st.sampled_from([*_LINES, *" ".join(_LINES).split()]), max_size=5), st.sampled_from([" ", "\n", ", and I "]))
def test_a_line_that_may_not_correct_and_names_no_value_alike_outdates_nothing(parts: list[str], between: str) -> None:
    line = between.join(parts)
    for old in _LINES[::3]:
        assert not outdates(line, old) or may_correct(line) or name_alike(line, old)
