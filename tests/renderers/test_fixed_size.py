"""Pages of natural size against the published figures and a browser; shrinking; the best single size."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from memagent_renderers.budget import Budget, ReaderProfile, TextLine
from memagent_renderers.calibration_text import sample_text
from memagent_renderers.engines import shared_engine
from memagent_renderers.engines.browser import BrowserEngine
from memagent_renderers.engines.html import page_html
from memagent_renderers.errors import BudgetError, ConfigError, InputError
from memagent_renderers.fixed_size import BODY, PROFILES, SHRUNK, best_uniform, fixed_size_page, render_downscaled
from memagent_renderers.layout import fit
from memagent_renderers.legibility import read_back
from memagent_renderers.legibility_curve import OCR, LegibilityCurve
from memagent_renderers.ocr.rapidocr import RapidOcrReader
from memagent_renderers.pricing import READERS
from memagent_renderers.type_scale import FACT_WORDS


def legible(lines: Sequence[TextLine], legibility: LegibilityCurve, *, together: int = FACT_WORDS) -> float:
    """Characters that are read, by the curve of an eye, `together` words at a time."""
    return sum(legibility.share(line.size) ** together * sum(map(len, line.words)) for line in lines)


# -- the published page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("markdown", "size"), [("a", (48, 106)), ("# Hello\nworld", (72, 193))])
def test_official_pages_have_the_published_sizes(markdown: str, size: tuple[int, int]) -> None:
    page = fixed_size_page(markdown, profile="official")
    assert page.height == size[1]
    assert page.width == pytest.approx(size[0], abs=6)  # the bundled face is narrower than Times


PUBLISHED = """
html, body { margin: 0; padding: 0 }
body { width: 1152px; font: 16px/18px "Memagent Condensed"; font-kerning: none }
.content { display: inline-block; white-space: pre-wrap; background: #cdf }
h1, h2, h3, h4, h5, h6, p, ul, ol, blockquote { margin-top: 0.5em; margin-bottom: 0.5em; padding: 0 }
ul, ol { margin-left: 20px }
pre { margin: 1em 0; padding: 10px }
code, pre { font: inherit }
h1 { line-height: 37px } h2 { line-height: 28px } h3 { line-height: 22px } h5 { line-height: 15px } h6 { line-height: 12px }
"""
"""The style sheet of section 2.1 with our face on Times' line heights, and the content box made visible."""

DOCUMENTS = {
    "paragraphs": "one\n\ntwo\n\nthree",
    "kept line ends": "one\ntwo\nthree\n\nfour",
    "headings": "# one\n## two\n### three\n#### four\n##### five\n###### six\n\nseven",
    "list": "one\n\n- two\n- three\n\nfour",
    "nested list": "- one\n    - two\n    - three\n- four",
    "deeper list": "- one\n    - two\n        - three\n- four\n\nfive",
    "list at the end": "# one\n\n1. two\n2. three",
    "table": "one\n\n| two | three |\n|---|---|\n| four | five |\n| six | seven |\n\neight",
    "quote": "one\n\n> two\n\nthree",
    "code": "one\n\n```\ntwo = 1\nthree = 2\n```\n\nfour",
    "long lines": " ".join(["harbour"] * 300) + "\n\n- " + " ".join(["ledger"] * 300),
    "60 paragraphs": "# Harbour\n\n" + "\n\n".join(f"Paragraph {number}." for number in range(60)),
}


@pytest.mark.browser
@pytest.mark.parametrize("name", DOCUMENTS)
def test_official_pages_are_as_high_and_wide_as_the_published_style_makes_them(browser: BrowserEngine, name: str) -> None:
    content = MarkdownIt("commonmark").enable("table").render(DOCUMENTS[name]).strip()
    png = browser.draw_html(
        f'<!doctype html><html><head><meta charset="utf-8"><style>{PUBLISHED}</style></head><body>'
        f'<div class="content">\n{" " * 12}{content}\n        </div></body></html>',
        1280,
        4000,
    )
    pixels = numpy.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    box = pixels[:, :, 2] > pixels[:, :, 0] + 20
    width, height = (int(numpy.flatnonzero(box.any(axis=axis))[-1]) + 1 for axis in (0, 1))
    page = fixed_size_page(DOCUMENTS[name], profile="official")
    assert page.height == pytest.approx(height, abs=3)  # margins of headings fall between pixels
    if name not in ("quote", "code"):  # a browser also keeps 40 and 10 px free to the right of them
        assert page.width == pytest.approx(width, rel=0.03, abs=8)


# -- natural pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_engines_draw_what_the_page_says(profile: str, memory: str) -> None:
    page = fixed_size_page(memory, profile=profile)
    pixels = numpy.asarray(Image.open(io.BytesIO(shared_engine().draw(page))).convert("L"))
    ink = pixels < 128
    for line in page.lines:
        left, top, right, bottom = (round(edge) for edge in line.box)
        columns = numpy.flatnonzero(ink[top:bottom].any(axis=0))
        assert columns[0] == pytest.approx(left, abs=3), line.text
        assert columns[-1] + 1 == pytest.approx(right, abs=4), line.text
        ink[top:bottom] = False
    assert not ink.any()  # nothing stands outside of the lines
    assert page.sizes == {"h1": 32.0, "h2": 24.0, "bold": 16.0, "body": 16.0, "small": pytest.approx(13.28)}


def test_the_default_page_is_the_tighter_one(memory: str) -> None:
    default, official = (fixed_size_page(memory, profile=profile) for profile in ("default", "official"))
    assert default.width == 640
    assert default.width * default.height < 0.5 * official.width * official.height


def test_nested_items_stand_20_px_deeper() -> None:
    first, second = fixed_size_page("- one\n    - two", profile="official").lines
    assert second.box[0] - first.box[0] == pytest.approx(20, abs=6)  # "–" is wider than "•"


def test_uniform_pages_have_one_size_and_one_face(memory: str) -> None:
    page = fixed_size_page(memory, profile="official", uniform_px=16)
    assert page.sizes == {"body": BODY}
    assert {face for line in page.lines for face in line.faces} == {"regular"}
    tiered = fixed_size_page(memory, profile="official")
    assert sorted(word for line in page.lines for word in line.words) == sorted(
        word for line in tiered.lines for word in line.words
    )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("text", ["", "  \n\n", "<script>alert(1)</script>", "x" * 5000, "- a\n" * 300, "```\n\n```"])
def test_odd_documents_make_pages(profile: str, text: str) -> None:
    for picture in (render_downscaled(text, Budget(16), profile=profile), best_uniform(text, Budget(16))):
        assert picture.tokens <= 16
    page = fixed_size_page(text, profile=profile)
    assert "<script" not in page_html(page)
    assert page.truncated == (len(text) > 1000 and text[0] == "-")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="default, official"):
        fixed_size_page("a", profile="grand")
    with pytest.raises(InputError, match="6 to 96 px"):
        fixed_size_page("a", uniform_px=2)
    with pytest.raises(InputError, match="at least 1 px"):
        fixed_size_page("a", max_height=0)
    reader = ReaderProfile("r", pricing=READERS["qwen2.5-vl"])
    with pytest.raises(BudgetError, match="at least"):
        render_downscaled("a", Budget(reader.image_floor - 1, reader))


# -- shrinking --------------------------------------------------------------------------------------------------------


def test_published_examples_of_effective_sizes() -> None:
    """Section 2.4: body type of a full 1152 x 656 page is 2.1 px at B = 16 and 8.2 px at B = 256."""
    text = "\n\n".join([" ".join(["harbour"] * 400)] * 2 + ["end"] * 40)
    page = fixed_size_page(text, profile="official", cut=True)
    assert (page.width, page.height) == (pytest.approx(1152, abs=20), 656)
    for budget, body in ((256, 8.2), (64, 4.1), (16, 2.1)):
        assert render_downscaled(text, Budget(budget), cut=True).sizes["body"] == pytest.approx(body, rel=0.08)


def test_lines_of_a_shrunk_picture_are_where_they_are_drawn(memory: str) -> None:
    picture = render_downscaled(memory, Budget(256))
    ink = numpy.asarray(Image.open(io.BytesIO(picture.png)).convert("L")) < 160
    for line in picture.lines:
        left, top, right, bottom = line.box
        columns = numpy.flatnonzero(ink[round(top) + 1 : round(bottom)].any(axis=0))
        assert columns[0] == pytest.approx(left, abs=3), line.text
        assert columns[-1] + 1 == pytest.approx(right, abs=4), line.text
    assert picture.sizes["h1"] == pytest.approx(2 * picture.sizes["body"])
    assert max(line.size for line in picture.lines) == picture.sizes["h1"]


@pytest.mark.parametrize("name", READERS)
def test_no_shrunk_picture_exceeds_its_budget(name: str, memory: str) -> None:
    reader = ReaderProfile(name, pricing=READERS[name])
    for tokens in {max(tokens, reader.image_floor) for tokens in (16, 100, 1000)}:
        budget = Budget(tokens, reader)
        for picture in (render_downscaled(memory, budget), best_uniform(memory, budget)):
            assert reader.image_cost(picture.width, picture.height) == picture.tokens <= tokens


# -- the best single size ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [16, 64, 256])
def test_the_best_uniform_page_shows_more_than_the_published_one_and_fit_more_than_both(tokens: int, prose: str) -> None:
    text = "\n\n".join(f"{prose} Note {number}." for number in range(1 + tokens // 16))
    budget = Budget(tokens)
    uniform = best_uniform(text, budget)
    assert uniform.dropped > 0
    assert uniform.tokens == tokens  # a full page wastes no cell to rounding
    others = [
        render_downscaled(text, budget),
        render_downscaled(text, budget, cut=True),
        render_downscaled(text, budget, uniform_px=8),
    ]
    assert legible(uniform.lines, SHRUNK) > max(legible(other.lines, SHRUNK) for other in others)
    assert legible(fit(text, budget).lines, OCR) > legible(uniform.lines, SHRUNK)


def test_single_words_are_worth_smaller_type_than_facts(prose: str) -> None:
    facts, words = (best_uniform(prose * 5, Budget(64), together=together) for together in (FACT_WORDS, 1))
    assert facts.sizes["body"] == pytest.approx(SHRUNK.smallest(), rel=0.01) == pytest.approx(7.0, rel=0.01)
    assert words.sizes["body"] < facts.sizes["body"]
    assert legible(words.lines, SHRUNK, together=1) > legible(facts.lines, SHRUNK, together=1)
    assert legible(words.lines, SHRUNK) < legible(facts.lines, SHRUNK)


@pytest.mark.slow
@pytest.mark.parametrize("together", [FACT_WORDS, 1])
def test_the_real_eye_reads_shrunk_type_as_its_curve_says(together: int) -> None:
    pictures = [best_uniform(sample_text(400, seed=seed), Budget(36), together=together) for seed in (50, 51)]
    eye = RapidOcrReader()
    words = [word for picture in pictures for word in read_back(picture, eye).words if word.tier]
    assert len(words) > 300
    share = sum(word.read for word in words) / len(words)
    assert share == pytest.approx(SHRUNK.share(pictures[0].sizes["body"]), abs=0.06)


def test_a_short_document_keeps_its_natural_size() -> None:
    picture = best_uniform("# Ada\n\nShe lives in **Lyon**.", Budget(64))
    assert picture.sizes == {"body": pytest.approx(16.0)}
    assert picture.dropped == 0
    assert [line.text for line in picture.lines] == ["Ada; She lives in Lyon."]


def test_the_same_input_gives_the_same_bytes(memory: str) -> None:
    for make in (render_downscaled, best_uniform):
        assert make(memory, Budget(64)) == make(memory, Budget(64))
