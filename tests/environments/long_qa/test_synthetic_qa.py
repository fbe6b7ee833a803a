"""Made-up worlds: one answer a chain, splits that share no name, the same questions for the same seed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.environments.long_qa.synthetic_qa import (
    ENDINGS,
    SPLITS,
    WorldSettings,
    chains,
    follow,
    names,
    question_text,
    world_questions,
)
from memagent.errors import InputError


def test_a_question_has_one_answer_and_the_chain_tells_it() -> None:
    for one in world_questions(60, split="train", seed=1, settings=WorldSettings(hops=(1, 2, 3, 4))):
        assert follow(one.facts, one.start, one.relations) == one.answer
        assert [one.facts[place].relation for place in one.chain] == list(one.relations)
        assert len({(fact.subject, fact.relation) for fact in one.facts}) == len(one.facts) == 18
        assert one.text == question_text(one.start, one.relations)
        assert one.start in one.text
        assert one.text.endswith("?")


def test_without_any_one_fact_of_its_chain_a_question_has_no_answer() -> None:
    for one in world_questions(20, split="dev", seed=1):
        for place in one.chain:
            assert follow([fact for at, fact in enumerate(one.facts) if at != place], one.start, one.relations) is None


def test_a_sentence_names_subject_first_and_value_last() -> None:
    for one in world_questions(20, split="train", seed=2):
        for fact in one.facts:
            assert fact.sentence.startswith(fact.subject)
            assert fact.sentence.endswith(f" {fact.relation} {fact.value}.")


@given(st.integers(30, 300))
@settings(max_examples=20)
def test_sentences_are_about_as_long_as_asked(chars: int) -> None:
    (one,) = world_questions(1, split="train", seed=3, settings=WorldSettings(sentence_chars=chars))
    for fact in one.facts:
        assert len(fact.sentence) <= max(chars + 5, 48)
        assert len(fact.sentence) >= min(chars, 350) - 60


def test_splits_share_no_name() -> None:
    for kind in ENDINGS:
        every = [set(names(kind, split)) for split in SPLITS]
        assert all(len(one) >= 20 for one in every)
        assert len(set.union(*every)) == sum(len(one) for one in every)
    with pytest.raises(InputError, match="train, dev, test"):
        names("person", "exam")


@pytest.mark.slow
def test_thousands_of_questions_that_differ() -> None:
    questions = world_questions(3000, split="train", seed=4)
    assert len({one.text + one.answer for one in questions}) > 2900
    assert len({one.id for one in questions}) == 3000


def test_the_same_seed_gives_the_same_questions_and_a_longer_set_begins_with_the_shorter() -> None:
    assert world_questions(5, split="test", seed=7) == world_questions(9, split="test", seed=7)[:5]
    assert world_questions(5, split="test", seed=7) != world_questions(5, split="test", seed=8)


def test_chains_of_each_length_start_at_a_person() -> None:
    assert {len(chains(hops)) for hops in (1,)} == {4}
    assert all(len(one) == hops for hops in (1, 2, 3, 4) for one in chains(hops))


def test_a_question_of_four_hops_reads_as_english() -> None:
    text = question_text("Ada", ("was mentored by", "was mentored by", "works at", "is based in"))
    assert text == "In which town is the company where the mentor of the mentor of Ada works based?"
    assert not re.search(r"[{}]", text)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hops": ()}, "hops"),
        ({"hops": (5,)}, "1 to 4"),
        ({"people": 4}, "at least 5 people"),
        ({"facts": 31}, "3 to 30"),
        ({"facts": 2}, "3 to 30"),
    ],
)
def test_worlds_that_cannot_be(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        WorldSettings(**wrong)  # type: ignore[arg-type]
