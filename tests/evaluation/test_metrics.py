"""How right an answer is, and numbers with their uncertainty."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent.evaluation.metrics import by_cluster, em, f1, mean_interval, normalise, paired_interval, strict_sub_em, sub_em

Metric = Callable[[str | None, Sequence[str]], float]
METRICS: tuple[Metric, ...] = (em, f1, sub_em, strict_sub_em)
texts = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(["the", "A", "an", "Yes", "no", "noanswer", "Paris", "par", "1,234", "1934.", "é", "-"])).map(
        " ".join
    ),
)
golds = st.lists(texts, min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("answer", "gold", "scores"),
    [  # em, f1, official sub-EM, strict sub-EM
        ("Paris", ["Paris"], (1, 1, 1, 1)),
        ("The  PARIS!", ["paris"], (1, 1, 1, 1)),
        ("U.S.A.", ["USA"], (1, 1, 1, 1)),
        ("1,234", ["1234"], (1, 1, 1, 1)),
        ("in Paris, France", ["Paris"], (0, 0.5, 1, 1)),
        ("Paris", ["in Paris, France"], (0, 0.5, 1, 0)),
        ("par", ["Paris"], (0, 0, 1, 0)),
        ("Parish", ["Paris"], (0, 0, 1, 0)),
        ("New York City", ["York City Hall"], (0, 0.67, 0, 0)),
        ("New York", ["Paris", "New York City", "York"], (0, 0.8, 1, 1)),
        ("yes", ["yes"], (1, 1, 1, 1)),
        ("Yes.", ["no"], (0, 0, 0, 0)),
        ("yes it is", ["yes"], (0, 0, 1, 1)),  # words in common, but one side is exactly yes
        ("yes", ["yes it is"], (0, 0, 1, 0)),
        ("noanswer", ["no answer"], (0, 0, 0, 0)),
        ("no way", ["no wonder"], (0, 0.5, 0, 0)),  # neither side is exactly no
        ("yes it is", ["no", "yes it was"], (0, 0.67, 0, 0)),
        ("the the cat cat", ["cat cat dog"], (0, 0.8, 1, 0)),
        ("the", ["Paris"], (0, 0, 1, 0)),
        ("", ["Paris"], (0, 0, 1, 0)),
        ("Paris", ["!!!"], (0, 0, 1, 0)),
        ("An", ["the"], (1, 0, 1, 0)),
        ("“Paris”", ["Paris"], (0, 0, 1, 0)),
        ("Zürich", ["Zurich"], (0, 0, 0, 0)),
        (None, ["Paris"], (0, 0, 0, 0)),
        (None, [""], (0, 0, 0, 0)),
    ],
)
def test_the_metrics_of_memocr_and_the_strict_one(
    answer: str | None, gold: list[str], scores: tuple[float, float, float, float]
) -> None:
    assert tuple(metric(answer, gold) for metric in METRICS) == scores


def test_normalisation_takes_its_steps_in_order() -> None:
    assert normalise(" The  “a” cat—the\tdog’s\nA.N. bed, O'Neil ") == "“ ” cat— dog’s bed oneil"
    assert normalise("a-n") == ""  # marks go before articles
    assert normalise("theatre an1 a_") == "theatre an1"
    assert normalise(string.punctuation) == ""
    assert normalise("«É»") == "«é»"


def test_f1_is_rounded_as_released() -> None:
    assert f1("x y", ["x v w u t"]) == 0.29
    # 2 * 3 / 16 is 0.375; of 2PR / (P + R), in floating point, remains a little less
    assert f1("u v w x y", ["u v w 1 2 3 4 5 6 7 8"]) == 0.37
    assert f1("u v w x y", ["u 1 2 3 4 5 6 7 8 9 10"]) == 0.13


def test_a_gold_answer_is_needed() -> None:
    for metric in METRICS:
        with pytest.raises(InputError, match="one gold answer or more"):
            metric("x", [])


def test_one_string_is_one_gold_answer() -> None:
    assert [metric("i", "Paris") for metric in METRICS] == [metric("i", ["Paris"]) for metric in METRICS]


@given(texts)
def test_normalisation_changes_nothing_twice(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert not set(once) & set(string.punctuation)
    assert not {"a", "an", "the"} & set(once.split())


@given(texts, golds)
def test_the_best_gold_counts_and_order_does_not(answer: str, gold: list[str]) -> None:
    for metric in METRICS:
        assert metric(answer, gold) == max(metric(answer, [one]) for one in gold) == metric(answer, gold[::-1])
        assert 0 <= metric(answer, gold) <= 1
        assert metric(None, gold) == 0


@given(texts, texts)
def test_which_metric_implies_which(answer: str, gold: str) -> None:
    exact, overlap, loose, strict = (metric(answer, [gold]) for metric in METRICS)
    assert exact <= loose
    assert strict <= loose
    if normalise(gold):
        assert exact <= strict
        assert exact <= overlap
    assert f1(gold, [answer]) == overlap
    assert sub_em(gold, [answer]) == loose
    assert em(gold, [answer]) == exact


@given(texts, texts)
def test_words_that_are_not_compared_change_nothing(answer: str, gold: str) -> None:
    for metric in METRICS:
        assert metric(f" The,\t{answer.upper()} !", [gold]) == metric(answer.upper(), [gold])


# -- estimates ----------------------------------------------------------------------------------------------------------


def test_a_cluster_counts_once() -> None:
    values = [("a", 1.0), ("b", 0.0), ("a", 0.0), ("a", 1.0), ("a", 1.0)]
    assert by_cluster(values) == {"a": 0.75, "b": 0.0}
    assert by_cluster([]) == {}


def test_copies_of_a_question_do_not_narrow_its_interval() -> None:
    once = [(str(number), float(number % 3 == 0)) for number in range(60)]
    five = [pair for pair in once for _ in range(5)]
    assert mean_interval(list(by_cluster(five).values())) == mean_interval(list(by_cluster(once).values()))
    naive = mean_interval([value for _, value in five])
    clustered = mean_interval(list(by_cluster(five).values()))
    assert naive.low is not None
    assert naive.high is not None
    assert clustered.low is not None
    assert clustered.high is not None
    assert naive.high - naive.low < 0.6 * (clustered.high - clustered.low)


def test_pairing_takes_out_what_both_sides_share() -> None:
    draw = random.Random(0)
    hard = {str(number): draw.random() for number in range(100)}
    better = {name: value + 0.05 + 0.01 * draw.random() for name, value in hard.items()}
    found = paired_interval(better, hard)
    assert found.value == pytest.approx(0.055, abs=0.002)
    assert found.n == 100
    assert found.low is not None
    assert found.high is not None
    assert 0.05 < found.low < found.value < found.high < 0.06
    assert found == paired_interval(better, hard)
    assert paired_interval(hard, better).value == pytest.approx(-found.value)


def test_pairs_are_matched_by_name_not_by_place() -> None:
    assert paired_interval({"a": 1.0, "b": 0.0}, {"b": 0.0, "a": 1.0})[:3] == (0.0, 0.0, 0.0)


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="2 differ"):
        paired_interval({"a": 1.0, "b": 0.0}, {"a": 1.0, "c": 0.0})
    with pytest.raises(ValueError, match="no values"):
        paired_interval({}, {})
