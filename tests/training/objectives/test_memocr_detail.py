"""The detail question: which words are blanked, and what filling them in earns."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent_renderers import Budget, render
from memagent_renderers.budget import Picture
from memagent_renderers.fixed_size import render_downscaled
from memagent_training.objectives.memocr_detail import BLANK, BLANKS, Detail, detail_question, detail_reward, page_text, window


def words(text: str) -> int:
    return len(text.split())


@given(st.integers(0, 10_000), st.integers(3, 5))
def test_a_window_of_a_long_uniform_text(seed: int, length: int) -> None:
    text = " ".join(["w" * length] * 400)
    found = window(text, random.Random(seed))
    assert 299 <= len(found) <= 304
    assert set(found.split()) == {"w" * length}


@given(st.text(alphabet="ab1 .,é\n", max_size=600), st.integers(0, 1000))
def test_three_blanks_of_letters_and_digits_in_text_order(text: str, seed: int) -> None:
    detail = detail_question(text, seed=seed)
    if detail is None:
        assert len(text) > 300 or not any(word.isalnum() and len(word) > 2 for word in text.split())
        return
    assert 1 <= len(detail.words) <= BLANKS
    assert all(word.isalnum() and len(word) > 2 for word in detail.words)
    gaps = detail.problem.partition("\n")[0]
    assert gaps.count(BLANK) == len(detail.words)
    for word in detail.words:
        gaps = gaps.replace(BLANK, word, 1)
    assert gaps in " ".join(text.split())
    assert detail.answer == ", ".join(detail.words)


def test_no_candidate_no_question() -> None:
    assert detail_question("a, b! it is.", seed=0) is None
    assert detail_question("", seed=0) is None


MARKED = "# Ada\n\n- alpha bullet\n\n1. first number\n\n> quoted text\n\n| left | right |\n|---|---|\n| one | two |"


@pytest.mark.parametrize("draw", [lambda text: render(text, Budget(64)), lambda text: render_downscaled(text, Budget(512))])
def test_only_words_of_the_document_may_be_blanked(draw: Callable[[str], Picture]) -> None:
    shown = page_text(draw(MARKED).lines, MARKED).split()
    assert not {"•", "1.", ">"} & set(shown)
    assert {"Ada", "alpha", "first", "quoted", "two"} <= set(shown)


def test_what_layout_says_of_text_left_out_is_not_asked_for() -> None:
    long = "\n\n".join(f"Note {at} says nothing that anybody would want to read again" for at in range(80))
    lines = render(long, Budget(16)).lines
    assert "more" in lines[-1].words
    assert "more" not in page_text(lines, long).split()


def test_a_word_that_was_cut_for_width_is_asked_for_whole() -> None:
    word = "A" * 150 + "bcd"
    document = f"{word} end\n\nnotable table words"
    lines = render(document, Budget(64)).lines
    assert not any(word in line.words for line in lines)
    assert page_text(lines, document) == f"{word} end notable table words"


def test_a_window_at_the_start_ends_as_the_released_one() -> None:
    """From character 0 on it ends at the first blank after 300 characters; elsewhere it is counted from the blank before it."""
    text = " ".join([*["ab"] * 100, *["cdef"] * 100])  # text[299] is a blank, and so is text[304]
    assert text[299] == " "
    starts = [window(text, random.Random(seed)) for seed in range(400)]
    assert {len(one) for one in starts if text.startswith(one)} == {304}
    assert all(one.startswith(("ab", "cdef")) and one.endswith(("ab", "cdef")) for one in starts)


def test_details_are_paid_all_together_or_gap_by_gap() -> None:
    detail = Detail("", ("Lyon", "May", "17b"))
    assert detail_reward("\\boxed{lyon, may, 17B}", detail) == 1.0
    assert detail_reward("\\boxed{lyon, june, 17b}", detail) == 0.0
    assert detail_reward("\\boxed{lyon, june, 17b}", detail, partial=True) == pytest.approx(2 / 3)
    assert detail_reward("\\boxed{may, lyon}", detail, partial=True) == 0.0
    assert detail_reward("lyon, may, 17b", detail, partial=True) == 0.0
