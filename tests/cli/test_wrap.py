"""Lines break between words at the edge of a terminal, in whatever pieces the text comes."""

from __future__ import annotations

import pytest

from memagent.cli.wrap import Wrapper, wrapped


def in_pieces(text: str, size: int, width: int) -> str:
    wrapper = Wrapper(width)
    return "".join(wrapper.feed(text[at : at + size]) for at in range(0, len(text), size)) + wrapper.end()


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a sustained garbage", ["a", "sustained", "garbage"]),
        ("a sustainable e", ["a", "sustainable e"]),
        ("one two three", ["one two", "three"]),
        ("exactly ten", ["exactly", "ten"]),
        ("1234567890 2", ["1234567890", "2"]),
        ("  indent\n\nnext", ["  indent", "", "next"]),
        ("https://example.org/long x", ["https://example.org/long x"]),
        ("äöü ßéñ çà", ["äöü ßéñ çà"]),
        ("我住在上海市中心", ["我住在上海", "市中心"]),
        ("naïve 猫がいる", ["naïve 猫が", "いる"]),
        ("tail ", ["tail "]),
        ("", [""]),
    ],
)
def test_lines_break_between_words(text: str, lines: list[str], size: int) -> None:
    assert in_pieces(text, size, 10) == "\n".join(lines)


def test_nothing_but_the_last_word_is_held_back() -> None:
    wrapper = Wrapper(40)
    assert wrapper.feed("My dog is cal") == "My dog is"
    assert wrapper.feed("led") == ""
    assert wrapper.feed(" Rex.\n") == " called Rex.\n"
    assert wrapper.feed("我叫小") == "我叫"


def test_words_survive_whatever_the_width() -> None:
    text = "Der Donaudampfschifffahrtskapitän grüßt 東京 und\tParis.\n" * 3
    for width in (1, 2, 7, 80):
        assert "".join(wrapped(text, width).split()) == "".join(text.split())
