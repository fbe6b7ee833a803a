"""Cutting texts by tokens: nothing is lost or repeated, and no piece holds more than asked."""

from __future__ import annotations

import pytest
from helpers.recording_model import RecordingModel
from hypothesis import given
from hypothesis import strategies as st

from memagent.memory.memocr import loops
from memagent.models.fake import count_pieces
from memagent.text.token_chunks import CountCutter, TokenCutter, without_middle


class Words:
    """A tokenizer with a token for each word."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.words += [word for word in dict.fromkeys(text.split()) if word not in self.words]
        return [self.words.index(word) for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        return " ".join(self.words[number] for number in ids)


@pytest.mark.parametrize(("tokens", "turns"), [(0, 0), (1, 1), (5000, 1), (5001, 2), (28_000, 6)])
def test_chunks_are_5000_tokens_without_overlap_and_each_is_one_turn(tokens: int, turns: int) -> None:
    text = " ".join(f"w{number % 97}" for number in range(tokens))
    chunks = TokenCutter(Words()).chunks(text, loops.CHUNK_TOKENS)
    assert len(chunks) == turns
    assert " ".join(chunks) == text
    by_count = CountCutter(lambda piece: len(piece.split())).chunks(text, loops.CHUNK_TOKENS)
    assert len(by_count) == turns
    assert "".join(by_count) == text
    model = RecordingModel(["# draft"] * turns)
    assert loops.drive(loops.draft(chunks, problem="q"), model).turns == turns == len(model.requests)


@given(st.integers(0, 60), st.integers(1, 40))
def test_a_text_without_its_middle_keeps_the_first_half_and_the_last(length: int, most: int) -> None:
    ids = list(range(length))
    kept = without_middle(ids, most)
    if length <= most:
        assert kept == ids
    else:
        assert kept == ids[: most // 2] + ids[length - (most - most // 2) :]
        assert len(kept) == most
    text = " ".join(f"w{number}" for number in ids)
    assert TokenCutter(Words()).without_middle(text, most).split() == [f"w{number}" for number in kept]
    assert CountCutter(lambda piece: len(piece.split())).without_middle(text, most).split() == [f"w{n}" for n in kept]


@given(st.text(max_size=300), st.integers(1, 40))
def test_chunks_by_count_lose_nothing_and_hold_no_more_than_asked(text: str, size: int) -> None:
    chunks = CountCutter(count_pieces).chunks(text, size)
    assert "".join(chunks) == (text if text.strip() else "")
    assert all(count_pieces(chunk.strip()) <= size or len(chunk.strip()) == 1 for chunk in chunks)


def test_the_head_of_a_question_is_cut_at_the_end() -> None:
    assert TokenCutter(Words()).head("a b c d", 2) == "a b"
    assert CountCutter(lambda piece: len(piece.split())).head("a b c d", 2) == "a b"
    assert CountCutter(count_pieces).head("short", 1024) == "short"
