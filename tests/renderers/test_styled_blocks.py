"""Where lines of Chinese and Japanese may end, and what of a word is cut."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.tiny_fonts import IDEOGRAPHS, tiny_font

from memagent_renderers import Budget, fit, fonts, styled_blocks


def lines_of(text: str, limit: float, before: str = "") -> list[str]:
    """`before` and `text` as words, parted for lines of `limit` blanks-less font units."""
    words = [styled_blocks.plain_word(part) for part in (before, text) if part]
    out, _, _ = styled_blocks.split_long(words, [styled_blocks.word_width(word) for word in words], limit)
    return ["".join(piece for piece, _ in word) for word in out]


@pytest.fixture
def em(tmp_path: Path, use: Callable[..., None]) -> int:
    """A fallback for ideographs, and the width of one."""
    use(tiny_font(tmp_path / "tiny.ttf", IDEOGRAPHS + "、。「」（）ー"))
    return fonts.face("regular").units


def test_a_line_ends_between_any_two_ideographs_and_the_first_fills_the_room(em: int) -> None:
    assert lines_of("東京都国語学校", 3 * em) == ["東京都", "国語学", "校"]
    assert lines_of("東京都国語学校", 4 * em, "•") == ["•", "東京都", "国語学校"]


def test_closing_marks_start_no_line_and_opening_ones_end_none(em: int) -> None:
    assert lines_of("東京都。国語", 3 * em) == ["東京", "都。国", "語"]
    assert lines_of("東京「国語」学", 3 * em) == ["東京", "「国", "語」学"]
    assert lines_of("東京ー国", 2 * em) == ["東", "京ー", "国"]


def test_a_list_item_begins_beside_its_bullet(em: int) -> None:
    page = fit(f"- {IDEOGRAPHS}\n- {IDEOGRAPHS[:3]} {IDEOGRAPHS}", Budget(256))
    assert [line.words[0] for line in page.lines].count("•") == 2
    assert all(len(line.words) > 1 for line in page.lines if line.words[0] == "•")


def test_words_and_numbers_among_ideographs_stay_whole(em: int) -> None:
    assert lines_of("東京2024年café国", 3 * em) == ["東京", "2024年", "café国"]


def test_a_sentence_of_ideographs_is_not_a_cut_word(em: int) -> None:
    words = [styled_blocks.plain_word("東京都国語学校")]
    assert styled_blocks.split_long(words, [7 * em], 3 * em)[2] == 0
    words = [styled_blocks.plain_word("東京" + "x" * 40)]
    assert styled_blocks.split_long(words, [styled_blocks.word_width(words[0])], 3 * em)[2] == 40


def test_pieces_keep_text_and_fit(em: int) -> None:
    draw = random.Random(1)
    for _ in range(200):
        text = "".join(draw.choices(IDEOGRAPHS + "、。「」（）abc12é", k=draw.randrange(1, 60)))
        limit = draw.uniform(1, 12) * em
        pieces = lines_of(text, limit, draw.choice(["", "•", "word"]))
        assert "".join(pieces).endswith(text)
        assert all(fonts.width("regular", piece) <= limit or len(piece) == 1 for piece in pieces)
