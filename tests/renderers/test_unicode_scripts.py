"""Scripts of a text, and the claim about which of them the packaged OCR reads, held against the OCR itself."""

from __future__ import annotations

import pytest

from memagent_renderers import Budget, RapidOcrReader, render, text_of
from memagent_renderers.legibility_curve import OCR
from memagent_renderers.unicode_scripts import READ_BY_OCR, scripts_of


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Ada, 14 rue Mercière", {"Latin"}),
        ("Ольга and Ελένη", {"Cyrillic", "Greek", "Latin"}),
        ("α-carotene, 5 µm, Ω", {"Latin"}),
        ("gần chợ", {"Latin", "Vietnamese"}),
        ("東京タワーで", {"Han", "Kana"}),
        ("한", {"Hangul"}),
        ("שלום مرحبا नमस्ते", {"Hebrew", "Arabic", "Devanagari"}),
        ("Ａｄａ 12 — € 😀", {"Latin"}),
        ("", set()),
    ],
)
def test_scripts_are_named(text: str, scripts: set[str]) -> None:
    assert scripts_of(text) == scripts
    assert OCR.unreadable(text) == scripts - READ_BY_OCR


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("Příliš žluťoučký kůň pije každý večer čaj", 0.7, 1.0),
        ("Съешь ещё этих мягких французских булок", 0.0, 0.1),
        ("Ξεσκεπάζω την ψυχοφθόρα βδελυγμία σήμερα", 0.0, 0.3),
        ("Hương uống cà phê sữa đá mỗi buổi sáng", 0.0, 0.6),
    ],
)
def test_the_eye_reads_what_the_list_says(text: str, least: float, most: float) -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    picture = render(text, Budget(64))
    assert picture.sizes["body"] == 16
    read = text_of(RapidOcrReader().read(picture)).split()
    share = sum(word in read for word in text.split()) / len(text.split())
    assert least <= share <= most
    assert bool(OCR.unreadable(text)) == (least == 0.0)
