r"""The last `\boxed{...}` of a reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.text.boxed import extract_boxed, last_boxed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so \\boxed{5}.", "5"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}} done", "\\frac{1}{2}"),
        ("\\boxed{\\boxed{3}}", "3"),
        ("\\boxed{}", ""),
        ("\\boxed{1} and \\boxed{2", None),
        ("\\boxed{{1}", None),
        ("no box", None),
        ("\\boxed 5", None),
        ("", None),
    ],
)
def test_the_last_box_counts_and_must_be_closed(text: str, found: str | None) -> None:
    assert last_boxed(text) == found


def test_a_box_counts_when_it_opens_within_the_window() -> None:
    box = "\\boxed{7}"
    assert last_boxed(box + "x" * (200 - len(box)), window=200) == "7"
    assert last_boxed(box + "x" * (201 - len(box)), window=200) is None
    assert last_boxed(box + "x" * 400, window=500) == "7"
    assert last_boxed(box, window=0) is None


@given(st.text(alphabet="\\boxed{}19 ", max_size=60))
def test_what_is_found_is_balanced_and_stands_in_the_text(text: str) -> None:
    found = last_boxed(text)
    if found is not None:
        assert "\\boxed{" + found + "}" in text
        assert found.count("{") == found.count("}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{Paris}", "Paris"),
        (r"\boxed{a} and \boxed{b}", "b"),
        (r"\boxed{\frac{1}{2}} done", r"\frac{1}{2}"),
        (r"\boxed{}", ""),
        (r"\boxed{never closed", None),
        (r"\boxed{first} then \boxed{second", None),
        (r"\boxed{first} then \boxedtext", None),
        (r"\boxed {Paris} is $\boxed Lyon$ not", "Lyon"),
        (r"\boxed {Paris}", "{Paris}"),
        (r"\boxed{Rome} or \boxed Lyon", "Lyon"),
        (r"\boxed Lyon or \boxed{Rome}", r"Lyon or \boxed{Rome}"),
        (r"\fbox{Paris}", None),
        ("Paris", None),
        ("", None),
    ],
)
def test_a_box_without_braces_counts_as_in_memocrs_release(text: str, found: str | None) -> None:
    assert extract_boxed(text) == found
