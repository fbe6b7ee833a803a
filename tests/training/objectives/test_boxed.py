"""Boxed answers: the normal form in which they are compared, and the checker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent_training.objectives.boxed import (
    INSTRUCTION,
    BoxedAnswers,
    boxed_answer,
    generation_prompt,
    normalise_answer,
    without_instruction,
)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("x = 5", "5"),
        ("a=b=c", "c"),
        (" 1 2 ", "12"),
        ("1,234,567", "1234567"),
        ("-1{,}234.5", "-1234.5"),
        ("1,2", "1,2"),
        ("12,34", "12,34"),
        ("\\text{Yes}", "Yes"),
        ("\\mathrm{\\textbf{No}}", "No"),
        ("5\\text{ cm}", "5"),
        ("12 square inches", "12"),
        ("3\\,\\text{cm}^2", "3"),
        ("90^\\circ", "90"),
        ("90^{\\circ}", "90"),
        ("\\$40", "40"),
        ("15\\%", "15"),
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("\\frac12", "\\frac{1}{2}"),
        ("2\\sqrt3", "2\\sqrt{3}"),
        ("\\left( 1, 2 \\right)", "(1,2)"),
        ("\\leftarrow", "\\leftarrow"),
        ("yes", "yes"),
        ("Yes.", "Yes."),
        ("", ""),
        ("km", "km"),
    ],
)
def test_equal_answers_have_one_form(written: str, normal: str) -> None:
    assert normalise_answer(written) == normal


@given(st.text(max_size=80))
def test_any_text_normalises_to_one_without_white_space(text: str) -> None:
    normal = normalise_answer(text)
    assert "=" not in normal
    assert not any(char.isspace() for char in normal)


@given(st.integers(-(10**9), 10**9))
def test_numbers_with_thousands_commas_equal_plain_ones(number: int) -> None:
    assert normalise_answer(f"{number:,}") == normalise_answer(f"x={number} \\text{{ units}}") == str(number)


def test_the_checker_compares_normal_forms() -> None:
    task = {"id": "q", "prompt": "p", "answer": "1,000"}
    checker = BoxedAnswers()
    right = checker.check(task, "thus \\boxed{x = 1000}")
    assert (right.answer, right.correct, right.valid) == ("1000", True, True)
    wrong = checker.check(task, "thus \\boxed{999}")
    assert (wrong.answer, wrong.correct, wrong.valid) == ("999", False, True)
    none = checker.check(task, "thus 1000")
    assert (none.answer, none.correct, none.valid) == (None, False, False)
    assert boxed_answer("no") is None


def test_the_instruction_goes_on_and_comes_off() -> None:
    assert generation_prompt("What is 1+1?").endswith(INSTRUCTION)
    assert without_instruction(generation_prompt("What is 1+1?")) == "What is 1+1?"
    assert without_instruction("plain") == "plain"
