"""The OCR eye on real pages, and its pure parts."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from PIL import Image, ImageDraw

from memagent_renderers import Budget, Picture, RapidOcrReader, render, text_of
from memagent_renderers.errors import InputError, MissingExtra
from memagent_renderers.ocr.rapidocr import BAND, OVERLAP, OcrLine, band_cuts, in_reading_order, words_of


@pytest.fixture(scope="module")
def eye() -> RapidOcrReader:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    return RapidOcrReader()


def share_read(markdown: str, tokens: int, eye: RapidOcrReader) -> float:
    """Share of the words placed on the page that the eye reads back, in order, each used once."""
    picture = render(markdown, Budget(tokens))
    placed = [word.lower() for line in picture.lines for word in line.words if word.isalnum()]
    read = [word.text.lower() for word in eye.read(picture)]
    read = [word for word in read if word.isalnum()]
    blocks = SequenceMatcher(None, placed, read, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(placed)


@pytest.mark.parametrize("tokens", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_a_full_page_is_read_back(eye: RapidOcrReader, prose: str, tokens: int) -> None:
    assert share_read(prose * 3, tokens, eye) >= 0.9


def test_a_reading_is_remembered_by_its_picture(eye: RapidOcrReader, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = render("Biscuit is a beagle", Budget(16))
    first = eye.read(picture)
    monkeypatch.setattr(eye, "_read_band", None)
    assert eye.read(picture) == first
    assert text_of(first).split() == ["Biscuit", "is", "a", "beagle"]
    left, top, right, bottom = first[0].box
    assert 0 <= left < right <= picture.width
    assert 0 <= top < bottom <= picture.height


def test_what_is_no_picture_is_refused(eye: RapidOcrReader) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        eye.read(Picture(b"no png", 28, 28, 4))


def test_a_missing_ocr_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'memagent\[embedded\]'"):
        RapidOcrReader()


def test_lines_side_by_side_are_read_left_to_right() -> None:
    lines = [OcrLine("c", (0, 20, 9, 28), 1), OcrLine("b", (50, 1, 59, 9), 1), OcrLine("a", (0, 0, 9, 8), 1)]
    assert [line.text for line in in_reading_order(lines)] == ["a", "b", "c"]


def test_words_share_the_box_of_their_line() -> None:
    first, second = words_of(OcrLine("ab cde", (0.0, 0.0, 60.0, 8.0), 0.9))
    assert first.box == (0.0, 0.0, 20.0, 8.0)
    assert second.box == (30.0, 0.0, 60.0, 8.0)


def test_tall_pages_are_cut_between_lines() -> None:
    page = Image.new("L", (100, 2000), 255)
    pen = ImageDraw.Draw(page)
    for top in range(0, 2000, 12):
        pen.rectangle((5, top, 95, top + 9), fill=0)
    cuts = band_cuts(page)
    assert cuts[0] == 0
    assert cuts[-1] == 2000
    assert all(cut % 12 in (10, 11) for cut in cuts[1:-1])
    assert all(BAND - OVERLAP <= b - a <= BAND + OVERLAP for a, b in pairwise(cuts[:-1]))
