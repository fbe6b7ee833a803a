"""What of an answer and its evidence stands in a view."""

from __future__ import annotations

import pytest

from memagent.environments.long_qa.evidence import Precision, evidence_precision, evidence_shown, sentence_shown
from memagent.errors import InputError

SENTENCE = "He moved to Port Carrick in the spring of 1934."


def test_a_sentence_is_shown_by_most_of_its_words_in_order() -> None:
    assert sentence_shown(SENTENCE, f"before. {SENTENCE.upper()} after")
    assert sentence_shown(SENTENCE, "He rnoved to Port Carrick in spring of 1934")
    assert not sentence_shown(SENTENCE, "He moved to Port Carrick")
    assert not sentence_shown(SENTENCE, " ".join(reversed(SENTENCE.split())))
    assert not sentence_shown("The.", "The.")


def test_evidence_is_a_share_of_sentences() -> None:
    assert evidence_shown([SENTENCE, "Bergen is wet."], SENTENCE) == 0.5
    with pytest.raises(InputError, match="without supporting sentences"):
        evidence_shown([], "x")


def test_evidence_precision_by_tier_and_region() -> None:
    memory = "## Tom Ferris moved\n\n**to Port Carrick**\n\nHe was not Tom\n\n<small>Carrick is not Ferris</small>"
    found = evidence_precision(memory, ["Tom Ferris", "Port Carrick", ""])
    assert found["crucial"] == found["h2"] == Precision(2, 3)
    assert found["bold"] == Precision(2, 3)
    assert found["body"] == found["small"] == Precision(0, 4)
    assert found["detailed"] == Precision(2, 11)
    assert found["detailed"].share == pytest.approx(2 / 11)


def test_words_of_overlapping_phrases_count_once() -> None:
    assert evidence_precision("new york city hall", ["New York City", "York City Hall"])["body"] == Precision(4, 4)
    assert evidence_precision("", ["x"])["crucial"].share is None
