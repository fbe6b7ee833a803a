"""What an eye reads back, and the curves made of it. The real eye on real pages, and pure parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent_renderers import Budget, ReaderProfile, render
from memagent_renderers.budget import Picture, Word
from memagent_renderers.calibration_text import sample_text
from memagent_renderers.engines import shared_engine
from memagent_renderers.engines.fake import FakeEngine
from memagent_renderers.errors import InputError
from memagent_renderers.legibility import aligned, calibrate, read_back, sample_pages
from memagent_renderers.legibility_curve import OCR, PROMISE, LegibilityCurve
from memagent_renderers.ocr.fake import FakePictureReader
from memagent_renderers.ocr.rapidocr import RapidOcrReader
from memagent_renderers.ocr.simulated import SimulatedReader, agreement, word_boxes


@pytest.fixture(scope="module")
def eye() -> RapidOcrReader:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    return RapidOcrReader()


class HalfBlind:
    """Reads type of at least 9 px, and nothing below; bold from 12 px."""

    name = "half blind"

    def read(self, picture: Picture) -> list[Word]:
        return [
            Word(text, box)
            for line in picture.lines
            for text, face, box in zip(line.words, line.faces, word_boxes(line), strict=True)
            if line.size >= (12 if face == "bold" else 9)
        ]


def test_a_word_counts_once_and_in_order() -> None:
    assert aligned(["the", "dog", "the", "cat"], ["The", "cat"]) in ([True, False, False, True], [False, False, True, True])
    assert aligned(["cat", "dog"], ["dog", "cat"]).count(True) == 1
    assert aligned(["a", "a", "a"], ["a"]).count(True) == 1
    assert aligned([], ["x"]) == []


def test_repeated_text_is_aligned_as_a_whole() -> None:
    verse = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    read = [word for number, word in enumerate(verse * 3) if number != 12]
    assert aligned(verse * 3, read).count(False) == 1
    assert aligned(verse * 3, verse[5:] + verse).count(True) == 15


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abcd")))
def test_as_many_words_are_found_as_any_alignment_finds(placed: list[str], read: list[str]) -> None:
    best = [[0] * (len(read) + 1) for _ in range(len(placed) + 1)]
    for row, first in enumerate(placed, 1):
        for column, second in enumerate(read, 1):
            best[row][column] = max(best[row - 1][column], best[row][column - 1], best[row - 1][column - 1] + (first == second))
    found = aligned(placed, read)
    assert sum(found) == best[-1][-1]
    kept = iter(read)
    assert all(word in kept for word, hit in zip(placed, found, strict=True) if hit)  # in order, each used once


def test_a_reading_tells_tiers_apart(memory: str) -> None:
    picture = render(memory, Budget(64), engine=FakeEngine())
    reading = read_back(picture, FakePictureReader())
    assert reading.share() == 1.0
    assert set(reading.tiers) == set(picture.sizes)
    assert reading.characters == sum(len(word) for line in picture.lines for word in line.words)
    assert reading.density == reading.characters / picture.tokens
    assert read_back(picture, HalfBlind()).share(tier="bold") == 0.0  # 11.5 px


def test_calibration_finds_how_small_an_eye_can_read() -> None:
    legibility = calibrate(HalfBlind(), engine=FakeEngine(), sizes=[8, 8.5, 9, 10, 12], words=60)
    assert legibility.share(8.5) == 0.0
    assert legibility.share(9.0) == legibility.share(30.0) == 1.0
    assert legibility.share(10.0, bold=True) == 0.0
    assert legibility.smallest() == 12.0
    budget = Budget(64, ReaderProfile("weak", legibility=legibility))
    picture = render("Some *words* that a **weak** eye shall read. " * 60, budget)
    assert read_back(picture, HalfBlind()).share() == 1.0


def test_curves_are_kept_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "eye.json"
    OCR.save(path)
    assert LegibilityCurve.load(path) == OCR
    for damage in ("", "{}", '{"legibility": 1}', '{"legibility": 1, "eye": "x", "regular": [[8, 2]], "bold": [[8, 1]]}'):
        path.write_text(damage)
        with pytest.raises(InputError, match="legibility curve"):
            LegibilityCurve.load(path)
    with pytest.raises(InputError, match="cannot read"):
        LegibilityCurve.load(tmp_path / "absent.json")


@pytest.mark.parametrize("points", [(), ((8.0, 0.5), (8.0, 0.6)), ((9.0, 0.5), (8.0, 0.6)), ((0.0, 0.5),), ((8.0, 1.5),)])
def test_a_curve_needs_rising_sizes_and_shares(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(InputError, match="legibility curve"):
        LegibilityCurve("x", points, ((8.0, 1.0),))


def test_shares_between_measured_sizes() -> None:
    legibility = LegibilityCurve("x", ((6.0, 0.2), (8.0, 0.8)), ((6.0, 0.2), (8.0, 1.0)))
    assert legibility.share(7.0) == pytest.approx(0.5)
    assert legibility.share(7.0, bold=True) == pytest.approx(0.6)
    assert legibility.share(5.9) == 0.0
    assert legibility.share(99.0) == 0.8


def test_scripts_that_ocr_cannot_read_are_named_and_never_promised() -> None:
    picture = render("Москва is Moscow, and 北京 is �", Budget(16), engine=FakeEngine())
    assert picture.unreadable == ("Cyrillic",)
    promised = [word.text for word in read_back(picture, FakePictureReader()).promised(OCR)]
    assert "Москва" not in promised
    assert {"is", "Moscow,", "and"} <= set(promised)
    anyone = ReaderProfile("any", legibility=LegibilityCurve.threshold(8.0))
    assert render("Москва", Budget(16, anyone), engine=FakeEngine()).unreadable == ()


def test_sample_text_is_seeded_and_long_enough() -> None:
    assert sample_text(50, seed=3) == sample_text(50, seed=3) != sample_text(50, seed=4)
    assert len(sample_text(50).split()) >= 50


def test_the_calibrated_eye_loses_what_the_curve_says(prose: str) -> None:
    legibility = LegibilityCurve("half", ((5.0, 0.5), (30.0, 0.5)), ((5.0, 0.5), (30.0, 0.5)))
    pictures = [render(f"{number} {prose}", Budget(64)) for number in range(20)]
    eye = SimulatedReader(legibility)
    shares = [read_back(picture, eye).share() or 0.0 for picture in pictures]
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.05)
    assert len(set(shares)) > 1
    assert eye.read(pictures[0]) == SimulatedReader(legibility).read(pictures[0])
    assert eye.read(pictures[0]) != SimulatedReader(legibility, seed=1).read(pictures[0])


def test_the_calibrated_eye_refuses_what_it_cannot_know() -> None:
    with pytest.raises(InputError, match="made by `render`"):
        SimulatedReader(OCR).read(Picture(b"", 28, 28, 4, dropped=3))
    with pytest.raises(InputError, match="at least one picture"):
        agreement([], FakePictureReader(), SimulatedReader(OCR))


@pytest.mark.parametrize("size", [7.0, pytest.param(8.0, marks=pytest.mark.slow)])
def test_the_packaged_curve_holds_for_the_packaged_eye(eye: RapidOcrReader, size: float) -> None:
    (page,) = sample_pages(shared_engine(), size, bold=False, words=100, seed=99)
    assert read_back(page, eye).share() == pytest.approx(OCR.share(size), abs=0.08)


@pytest.mark.parametrize("tokens", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_what_is_promised_legible_is_read(eye: RapidOcrReader, prose: str, tokens: int) -> None:
    picture = render(f"# {prose}\n\n" + prose * 3, Budget(tokens))
    reading = read_back(picture, eye)
    promised = reading.promised(OCR)
    assert len(promised) > 0.95 * len(reading.words)
    assert sum(word.read for word in promised) >= PROMISE * len(promised)
    assert reading.density >= 24.0


@pytest.mark.slow
def test_both_eyes_agree_on_a_hundred_pictures(eye: RapidOcrReader) -> None:
    pictures = [render(sample_text(200, seed=seed), Budget((8, 12, 16)[seed % 3])) for seed in range(100)]
    found = agreement(pictures, eye, SimulatedReader(OCR))
    assert found.pictures == 100
    assert found.calibrated == pytest.approx(found.real, abs=0.02)
    assert found.apart < 0.05
