r"""MemOCR's verifier: last 300 characters, last box, no case, no spaces, any gold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.objectives.memocr import WINDOW, memocr_reward


@pytest.mark.parametrize(
    ("response", "golds", "reward"),
    [
        (r"\boxed{New York}", ["newyork"], 1.0),
        (r"\boxed{PARIS}", ["Lyon", "paris"], 1.0),
        (r"\Boxed{Paris}", ["Paris"], 1.0),
        (r"\boxed{the Paris}", ["Paris"], 0.0),
        (r"\boxed{Paris.}", ["Paris"], 0.0),
        (r"\boxed{1,234}", ["1234"], 0.0),
        (r"\boxed{U.S.A.}", ["USA"], 0.0),
        (r"\boxed{café}", ["cafe"], 0.0),
        (r"\boxed{\dfrac{1}{2}}", [r"\tfrac{1}{2}"], 1.0),
        (r"\boxed{\left( 3 \right)}", ["(3)"], 1.0),
        (r"\boxed{90^\circ}", ["90"], 1.0),
        (r"\boxed{90^{\circ}}", ["90"], 1.0),
        (r"\boxed{\$5}", ["5"], 1.0),
        (r"\boxed{5\%}", ["5"], 1.0),
        (r"\boxed{5%}", ["5"], 0.0),
        (r"\boxed{x .5}", ["x 0.5"], 1.0),
        (r"\boxed{\sqrt{.5}}", [r"\sqrt{0.5}"], 1.0),
        (r"\boxed{.5}", ["0.5"], 0.0),
        ("\\boxed{a\nb}", ["ab"], 1.0),
        (r"\boxed{a\!b}", ["ab"], 1.0),
        (r"\boxed{a\\b}", [r"a\b"], 1.0),
        (r"\boxed{}", [""], 1.0),
        (r"\boxed{Paris} but \boxed{Lyon}", ["Paris"], 0.0),
        ("Paris", ["Paris"], 0.0),
        (r"\fbox{Paris}", ["Paris"], 0.0),
        (r"\boxed Paris$ it is", ["Paris"], 1.0),
    ],
)
def test_the_reward_ignores_case_and_spaces_and_is_strict_otherwise(response: str, golds: list[str], reward: float) -> None:
    assert memocr_reward(response, golds) == reward


@given(st.integers(0, 2 * WINDOW))
def test_a_box_before_the_last_300_characters_is_not_seen(after: int) -> None:
    box = r"\boxed{Paris}"
    assert memocr_reward(box + "x" * after, ["Paris"]) == float(len(box) + after <= WINDOW)


@given(st.text(max_size=400), st.text(max_size=20))
def test_any_reply_has_a_reward(response: str, gold: str) -> None:
    assert memocr_reward(response, [gold]) in (0.0, 1.0)


def test_one_gold_answer_may_be_a_string_and_none_is_refused() -> None:
    assert memocr_reward(r"\boxed{Paris}", "Paris") == 1.0
    with pytest.raises(InputError, match="one gold answer or more"):
        memocr_reward(r"\boxed{Paris}", [])
