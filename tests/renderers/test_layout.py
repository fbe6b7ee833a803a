"""Pages within every budget, important things first, the same on every machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from itertools import pairwise

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from memagent_renderers import fonts
from memagent_renderers.budget import Budget, ReaderProfile
from memagent_renderers.document import TIERS
from memagent_renderers.engines.browser import BrowserEngine
from memagent_renderers.engines.embedded import _font
from memagent_renderers.layout import Page, fit
from memagent_renderers.legibility_curve import OCR, LegibilityCurve
from memagent_renderers.picture import render
from memagent_renderers.pricing import PatchPricing
from memagent_renderers.type_scale import densest_scale, overfull, type_scales


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["# ", "## ", "- ", "> ", "", "1. ", "    ", "**x** ", "<small>"]),
            st.text(max_size=80),
        ),
        max_size=25,
    ),
    st.sampled_from([4, 5, 7, 8, 11, 16, 31, 64, 100, 256, 1024, 20000]),
    st.sampled_from([28, 32]),
    st.sampled_from([6.0, 8.0, 12.0]),
)
def test_no_document_exceeds_its_budget(lines: list[tuple[str, str]], tokens: int, cell: int, least: float) -> None:
    reader = ReaderProfile("r", pricing=PatchPricing(cell=cell), legibility=LegibilityCurve.threshold(least))
    page = fit("\n".join(start + text for start, text in lines), Budget(tokens, reader))
    assert page.width % cell == page.height % cell == 0
    assert reader.image_cost(page.width, page.height) <= tokens
    assert min(page.sizes.values(), default=least) >= least


SOFT = LegibilityCurve("soft", *[tuple((size, min(0.97, 0.05 * size)) for size in (4.0, 8.0, 12.0, 16.0, 20.0))] * 2)
"""An eye for whom everything but large type is a strain."""


@pytest.mark.parametrize("legibility", [OCR, SOFT, *map(LegibilityCurve.threshold, [6.0, 7.5, 8.0, 10.0, 16.0, 20.0])])
def test_more_important_tiers_are_never_smaller(legibility: LegibilityCurve) -> None:
    for rung in (*type_scales(legibility, loose=False), *type_scales(legibility, loose=True), overfull(legibility)):
        assert rung.sizes["body"] == rung.sizes["h4"]
        sizes = [rung.sizes[tier] for tier in TIERS]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] >= densest_scale(legibility)
        assert rung.sizes["bold"] >= legibility.smallest()  # crucial text is legible before any other gets a place


def test_sizes_rise_along_the_ladder() -> None:
    for loose in (False, True):
        rungs = type_scales(OCR, loose=loose)
        for before, after in pairwise(rungs):
            assert all(before.sizes[tier] <= after.sizes[tier] for tier in TIERS)
        assert rungs[-1].sizes["h1"] == 32.0
        assert rungs[-1].sizes["body"] == 16.0


def test_an_overfull_page_keeps_the_densest_size_for_an_eye_that_reads_it() -> None:
    assert set(overfull(OCR).sizes.values()) == {densest_scale(OCR)} == {7.5}


def test_a_weak_eye_gets_larger_type_and_less_of_it(prose: str) -> None:
    sharp, weak = (
        fit(prose * 3, Budget(64, ReaderProfile("r", legibility=legibility)))
        for legibility in (OCR, LegibilityCurve.threshold(14.0))
    )
    assert weak.sizes["body"] == 14.0
    assert len(_text(weak)) < len(_text(sharp)) / 2


def _text(page: Page) -> str:
    return " ".join(line.text for line in page.lines)


def test_a_short_memory_costs_less_than_its_budget() -> None:
    page = fit("# Ada\n- lives in Lyon", Budget(1024))
    assert page.width * page.height <= 20 * 784
    assert page.sizes == {"h1": 32.0, "body": 16.0}


@pytest.mark.parametrize("tokens", [64, 256, 1024])
@pytest.mark.parametrize("text", ["one two three four five six seven", "A short line.", "# Title", "word " * 30])
def test_a_short_text_has_its_full_size_whatever_the_budget(text: str, tokens: int) -> None:
    page = fit(text, Budget(tokens))
    assert max(page.sizes.values()) >= 16
    assert page.sizes == fit(text, Budget(64)).sizes


def test_everything_is_on_the_page_when_it_fits(memory: str) -> None:
    page = fit(memory, Budget(256))
    assert page.dropped == 0
    assert "Renew the tram pass" in _text(page)
    assert _text(page).count("Biscuit") == 1


def test_what_does_not_fit_is_counted_on_the_page(memory: str) -> None:
    page = fit(memory, Budget(8))
    assert page.dropped > 0
    assert _text(page).endswith(f"+{page.dropped} more")
    assert "Ada Kowalska" in page.lines[0].text


def test_importance_decides_what_stays() -> None:
    document = "filler words of no weight. " * 40 + "\n\n**The code is 4711.**\n\n# Passport expires in May"
    text = _text(fit(document, Budget(8)))
    assert "Passport expires in May" in text
    assert "The code is 4711." in text


def test_one_endless_word_fills_the_page() -> None:
    page = fit("x" * 50_000, Budget(16))
    assert page.dropped == 1
    assert len(_text(page)) > 200


def test_characters_without_a_glyph_are_reported_and_marked() -> None:
    page = fit("Meet 田中 at the café → 😀", Budget(16))
    assert page.missing == ("中", "田", "😀")
    assert _text(page) == "Meet � at the café -> �"


def test_an_empty_document_is_the_smallest_page() -> None:
    page = fit(" \n\n", Budget(64))
    assert (page.width, page.height, page.lines) == (56, 56, ())


@pytest.mark.parametrize("tokens", [4, 16, 32])
def test_drawn_lines_are_the_predicted_lines(prose: str, tokens: int) -> None:
    page = fit(prose, Budget(tokens))
    ink = numpy.asarray(Image.open(io.BytesIO(render(prose, Budget(tokens)).png)).convert("L")) < 128
    assert page.sizes["body"] < 10
    for line in page.lines:
        _, top, right, bottom = line.box
        band = ink[int(top) : int(bottom) - 1]  # dense lines touch: descenders reach into the row below
        edge = int(numpy.flatnonzero(band.any(axis=0)).max())
        assert right - 5 <= edge <= right + 1, line.text  # side bearings; a full stop is faint
        assert right == pytest.approx(1 + fonts.face("regular").width(line.text) * line.size / 2048, abs=0.5)
    assert not ink[int(page.lines[-1].box[3]) + 2 :].any()


@pytest.mark.parametrize("tokens", [4, 16, 64, 256])
def test_no_line_is_longer_than_the_page(memory: str, prose: str, tokens: int) -> None:
    picture = render(memory + prose, Budget(tokens))
    pixels = numpy.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    assert pixels[:, -1].min() > 200


def test_advance_widths_are_those_of_the_engine(memory: str) -> None:
    for span in fit(memory, Budget(64)).spans:
        assert span.width == pytest.approx(_font(span.face, span.size).measureText(span.text), abs=0.01), span.text


@pytest.mark.browser
@pytest.mark.parametrize("tokens", [16, 64, 256])
def test_chromium_overflows_no_line(browser: BrowserEngine, memory: str, prose: str, tokens: int) -> None:
    picture = render(memory + prose, Budget(tokens), engine=browser)
    pixels = numpy.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    assert pixels.shape == (picture.height, picture.width)
    assert pixels[:, -1].min() > 200


def test_same_bytes_in_another_process_and_hash_seed(memory: str) -> None:
    script = (
        "import sys, hashlib; from memagent_renderers import Budget, render; text = sys.stdin.read(); "
        "print(hashlib.sha256(b''.join(render(text, Budget(b)).png for b in (16, 64, 256))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            input=memory,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_page_is_laid_out_once_for_whoever_asks_and_keeps_no_model_alive() -> None:
    class Counter:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, text: str) -> int:
            return len(text)

    budget = Budget(64, ReaderProfile(name="odd", count=Counter()))
    assert fit("# once\n\nagain", budget) is fit("# once\n\nagain", budget)


def test_an_accent_without_a_letter_is_a_word_without_width() -> None:
    for lead in ("\u0301\\\n! ", "I am\\\n\u0301 \\\nat home "):
        assert fit(lead + "word " * 60, Budget(8)).lines
