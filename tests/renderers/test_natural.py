"""Pages of natural size and the published way of shrinking them; items 10 to 13 and 17 of the checklist."""

from __future__ import annotations

import io
from typing import Any

import numpy
import pytest
from PIL import Image

from renderers import Budget, ReaderProfile, render
from renderers.engines import Engine, shared_engine
from renderers.engines.browser import BrowserEngine
from renderers.errors import BudgetError, ConfigError
from renderers.layout import Page, fill
from renderers.legibility import read_back
from renderers.natural import CUT_HEIGHT, PROFILES, best_uniform, natural_page, shrink
from renderers.passages import prepare
from renderers.pricing import READERS
from renderers.richtext import TIERS, parse
from renderers.sizing import Rung

Pixels = numpy.ndarray[Any, Any]


def ink(page: Page, engine: Engine | None = None) -> Pixels:
    """True where a page is dark: (height, width)."""
    png = (engine or shared_engine()).draw(page.html, page.width, page.height)
    return numpy.asarray(Image.open(io.BytesIO(png)).convert("L")) < 128


def heights(marks: Pixels) -> list[int]:
    """Height in px of each band of ink, top to bottom."""
    rows = marks.any(axis=1).astype(int)
    edges = numpy.flatnonzero(numpy.diff(numpy.concatenate(([0], rows, [0]))))
    return [int(end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("profile", PROFILES)
def test_item_10_type_height_falls_from_tier_to_tier_and_bold_has_more_ink(profile: str) -> None:
    def page(markdown: str) -> Pixels:
        return ink(natural_page(markdown, profile=profile))

    check_item_10(heights(page("# H\n\n## H\n\n### H\n\n#### H\n\nH\n\n##### H\n\n###### H")), page)


def check_item_10(found: list[int], page: Any) -> None:
    h1, h2, h3, h4, body, h5, h6 = found
    assert h1 > h2 > h3 > h4 == body > h5 > h6
    plain, bold = page("HHHH HHHH"), page("**HHHH HHHH**")
    assert heights(plain) == heights(bold)
    assert bold.sum() > 1.15 * plain.sum()


@pytest.mark.browser
def test_item_10_in_chromium(browser: BrowserEngine) -> None:
    def page(markdown: str) -> Pixels:
        return ink(natural_page(markdown, profile="official"), browser)

    check_item_10(heights(page("# H\n\n## H\n\n### H\n\n#### H\n\nH\n\n##### H\n\n###### H")), page)


def test_item_11_area_grows_with_the_square_of_the_size(prose: str) -> None:
    passages, _ = prepare(parse(prose))
    areas = []
    for size in (8, 12, 16, 24, 32, 48, 64):
        page = fill(passages, Rung(dict.fromkeys(TIERS, float(size)), loose=False), 30 * size, 60 * size)
        assert page.dropped == 0
        rows, columns = (numpy.flatnonzero(ink(page).any(axis=axis)) for axis in (1, 0))
        areas.append((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / size**2)
    assert max(areas) <= 1.1 * min(areas), areas


@pytest.mark.parametrize("profile", PROFILES)
def test_item_12_a_long_memory_shows_its_end_or_says_what_is_lost(profile: str) -> None:
    long = "# Sixty\n\n" + "\n\n".join(f"Paragraph number {number} of sixty." for number in range(1, 61))
    page = natural_page(long, profile=profile)
    assert page.dropped == 0
    assert page.lines[-1].text == "Paragraph number 60 of sixty."
    assert ink(page)[-60:].any()
    cut = natural_page(long, profile=profile, cut=True)
    assert cut.height == CUT_HEIGHT
    assert cut.dropped > 30
    assert 60 - cut.dropped <= len(cut.lines) <= 61 - cut.dropped  # the one that the edge runs through is not whole
    assert shrink(long, Budget(64), profile=profile, cut=True).dropped == cut.dropped


def test_item_12_fit_counts_what_it_leaves_out() -> None:
    long = "\n\n".join(f"Paragraph number {number} of sixty is here." for number in range(1, 61))
    shown = " ".join(line.text for line in render(long, Budget(256)).lines)
    assert "number 60 of" in shown
    small = render(long, Budget(16))
    assert small.dropped > 0
    assert small.lines[-1].text.endswith(f"+{small.dropped} more")


def test_item_13_blank_lines_cost_nothing_and_margins_are_small() -> None:
    few, many = natural_page("one\n\ntwo"), natural_page("one\n\n\n\n\n\n\ntwo\n\n\n")
    assert (few.height, many.height) == (many.height, few.height)
    gap = numpy.diff(numpy.flatnonzero(ink(few).any(axis=1))).max()
    assert gap <= PROFILES["default"].gap("body", "body") + 16
    for tokens in (16, 64):
        assert render("one\n\ntwo", Budget(tokens)).png == render("one\n\n\n\n\ntwo", Budget(tokens)).png
    marks = ink(natural_page("H" * 300 + " " + "H " * 200))
    rows, columns = numpy.flatnonzero(marks.any(axis=1)), numpy.flatnonzero(marks.any(axis=0))
    assert max(rows[0], marks.shape[0] - rows[-1] - 1, columns[0], marks.shape[1] - columns[-1] - 1) <= 16


@pytest.mark.parametrize("tokens", [16, 64, 256, 1024])
def test_item_17_a_page_within_the_budget_is_not_enlarged(tokens: int) -> None:
    page = natural_page("# Hello\n\nworld", profile="official")
    picture = shrink("# Hello\n\nworld", Budget(tokens))
    least = min(8, tokens // 2)
    assert picture.tokens <= max(least + 2, round(page.width / 28) * round(page.height / 28) + 1)


def test_the_published_page_has_the_published_height() -> None:
    assert natural_page("a", profile="official").height == 106
    assert natural_page("# Hello\n\nworld", profile="official").height == 193 - 8  # our line of 16 px is 18 px, as theirs


def test_shrinking_makes_long_memories_unreadable_and_says_so(prose: str, memory: str) -> None:
    picture = shrink(memory + prose * 4, Budget(16))
    assert picture.tokens <= 16
    assert picture.dropped == 0
    assert picture.sizes["body"] < 3
    assert max(line.size for line in picture.lines) == picture.sizes["h1"]
    assert all(line.box[3] <= picture.height for line in picture.lines)


@pytest.mark.parametrize("name", ["qwen2.5-vl", "gpt-4o", "claude", "gemma-3"])
def test_shrink_keeps_every_readers_budget(name: str, memory: str) -> None:
    pricing = READERS[name]
    budget = Budget(pricing.floor + 300, ReaderProfile(name, pricing=pricing))
    for picture in (shrink(memory, budget), best_uniform(memory * 5, budget)):
        assert picture.tokens == pricing.cost(picture.width, picture.height) <= budget.tokens


def test_uniform_type_keeps_what_can_be_read_and_counts_the_rest(prose: str) -> None:
    picture = best_uniform("# Heading\n\n" + "\n\n".join([prose] * 5), Budget(16))
    assert list(picture.sizes) == ["body"]
    assert 6.5 <= picture.sizes["body"] <= 8
    assert picture.dropped > 0
    assert set(picture.lines[0].faces) == {"regular"}


def test_errors() -> None:
    with pytest.raises(ConfigError, match="there are: default, official"):
        natural_page("x", profile="fancy")
    with pytest.raises(BudgetError, match="at least 4"):
        shrink("x", Budget(3))


@pytest.mark.parametrize("tokens", [16, 64])
def test_fit_carries_more_than_any_shrunk_page(prose: str, memory: str, tokens: int) -> None:
    from renderers.eyes.ocr import OcrEye

    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    eye = OcrEye()
    document = memory + "\n\n" + "\n\n".join(prose.split(". ")) * 4
    fitted, shrunk, uniform = (
        read_back(picture(document, Budget(tokens)), eye).characters for picture in (render, shrink, best_uniform)
    )
    assert fitted >= 1.5 * shrunk
    assert fitted >= uniform
