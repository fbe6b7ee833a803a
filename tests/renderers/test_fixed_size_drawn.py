"""Pages of natural size as they are drawn: the published page of MemOCR (arXiv 2601.21468) and the tighter one."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import numpy
import numpy.typing as npt
import pytest
from PIL import Image

from memagent_renderers.budget import Budget, ReaderProfile
from memagent_renderers.engines import Engine, shared_engine
from memagent_renderers.fixed_size import CUT_HEIGHT, PROFILES, fixed_size_page, render_downscaled
from memagent_renderers.layout import Page
from memagent_renderers.pricing import PatchPricing

Pixels = npt.NDArray[numpy.uint8]
Draw = Callable[[Page], Pixels]
HEADINGS = {f"h{level}": f"{'#' * level} HHHH" for level in range(1, 7)}


@pytest.fixture(params=["embedded", pytest.param("browser", marks=pytest.mark.browser)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """A real engine."""
    real: Engine = shared_engine() if request.param == "embedded" else request.getfixturevalue("browser")
    return real


@pytest.fixture
def draw(engine: Engine) -> Draw:
    """Draws a page; grey, 0 is black."""
    return lambda page: grey(engine.draw(page))


def grey(png: bytes) -> Pixels:
    return numpy.asarray(Image.open(io.BytesIO(png)).convert("L"))


def ink_box(pixels: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of everything darker than a mid grey."""
    dark = pixels < 128
    across, down = numpy.flatnonzero(dark.any(axis=0)), numpy.flatnonzero(dark.any(axis=1))
    return int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1


def type_height(draw: Draw, markdown: str, profile: str) -> int:
    _, top, _, bottom = ink_box(draw(fixed_size_page(markdown, profile=profile)))
    return bottom - top


@pytest.mark.parametrize("profile", PROFILES)
def test_type_height_falls_from_h1_to_h6(draw: Draw, profile: str) -> None:
    heights = {tier: type_height(draw, text, profile) for tier, text in {**HEADINGS, "body": "HHHH"}.items()}
    falling = [heights[tier] for tier in ("h1", "h2", "h3", "body", "h5", "h6")]
    assert all(before > after for before, after in pairwise(falling)), heights
    assert heights["h4"] == heights["body"]


@pytest.mark.parametrize("profile", PROFILES)
def test_bold_has_more_ink_at_equal_height(draw: Draw, profile: str) -> None:
    plain, bold = (draw(fixed_size_page(text, profile=profile)) for text in ("HHHH", "**HHHH**"))
    assert ink_box(plain)[1::2] == ink_box(bold)[1::2]
    assert (255 - bold.astype(int)).sum() > 1.15 * (255 - plain.astype(int)).sum()


def test_area_grows_with_the_square_of_the_type_size(draw: Draw) -> None:
    text = "\n".join(["The harbour was dredged"] * 10)  # ten lines, so that rounding to pixels averages out
    areas = {}
    for size in (8, 12, 16, 24, 32, 64):
        left, top, right, bottom = ink_box(draw(fixed_size_page(text, profile="official", uniform_px=size)))
        areas[size] = (right - left) * (bottom - top) / size**2
    assert max(areas.values()) <= 1.1 * min(areas.values()), areas


def test_effective_sizes_follow_the_area_law() -> None:
    text = "# Harbour\n\n" + "\n\n".join(f"Paragraph {number} of the harbour." for number in range(12))
    page = fixed_size_page(text, profile="official")
    for budget in (256, 64, 16):
        picture = render_downscaled(text, Budget(budget))
        scale = min(1.0, (784 * budget / (page.width * page.height)) ** 0.5)
        # the sides are rounded down to whole cells, hence smaller than the formula says, by up to a cell a side
        lost = 1 - 28 / min(picture.width, picture.height)
        assert {"h1", "body"} == set(picture.sizes)
        for tier, natural in (("h1", 32.0), ("body", 16.0)):
            assert lost * natural * scale <= picture.sizes[tier] <= natural * scale + 1e-9


@pytest.mark.parametrize("profile", PROFILES)
def test_the_last_of_60_paragraphs_is_shown(draw: Draw, profile: str) -> None:
    text = "# Harbour\n\n" + "\n\n".join(f"Paragraph {number}." for number in range(1, 61))
    page = fixed_size_page(text, profile=profile)
    assert not page.truncated
    assert page.lines[-1].text == "Paragraph 60."
    pixels = draw(page)
    assert pixels.shape == (page.height, page.width)
    left, top, right, bottom = (round(edge) for edge in page.lines[-1].box)
    assert (pixels[top:bottom, left:right] < 128).any()
    assert not (pixels[bottom:] < 128).any()


@pytest.mark.parametrize("profile", PROFILES)
def test_what_a_cut_loses_is_said(draw: Draw, profile: str) -> None:
    text = "\n\n".join(f"Paragraph {number}." for number in range(1, 61))
    page = fixed_size_page(text, profile=profile, cut=True)
    assert page.height == CUT_HEIGHT
    assert page.truncated
    assert len(page.lines) + page.dropped == 60
    assert draw(page).shape == (CUT_HEIGHT, page.width)
    picture = render_downscaled(text, Budget(64), profile=profile, cut=True)
    assert picture.dropped == page.dropped
    assert fixed_size_page(text * 10, profile=profile).truncated  # by the height that every natural page ends at
    assert fixed_size_page(text, profile=profile, max_height=100).height == 100


def test_blank_lines_add_no_more_than_one_paragraph_gap(draw: Draw) -> None:
    one, many = (draw(fixed_size_page(f"HHHH{blank}HHHH")) for blank in ("\n\n", "\n" * 9))
    assert numpy.array_equal(one, many)
    rows = numpy.flatnonzero((one < 128).any(axis=1))
    steps = numpy.diff(rows)
    baseline_to_top = int(steps.max())
    alone = type_height(draw, "HHHH", "default")
    assert baseline_to_top + alone <= 20 + 16  # a line and a paragraph gap of one em


def test_margins_of_the_default_page_are_small(draw: Draw, prose: str) -> None:
    left, top, right, bottom = ink_box(draw(page := fixed_size_page("W" * 400 + "\n\n" + prose)))
    assert left <= 16
    assert page.width - right <= 16
    assert top <= 16
    assert page.height - bottom <= 16


@pytest.mark.parametrize("budget", [1, 2, 8, 16, 64, 1024])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_page_within_the_budget_is_not_enlarged(engine: Engine, profile: str, budget: int) -> None:
    reader = ReaderProfile("r", pricing=PatchPricing(floor=1))
    page = fixed_size_page("HH", profile=profile)
    picture = render_downscaled("HH", Budget(budget, reader), profile=profile, engine=engine)
    cells = max(1, round(page.width / 28)) * max(1, round(page.height / 28))
    least = min(8, max(1, budget // 2))
    assert picture.tokens <= budget
    assert grey(picture.png).shape == (picture.height, picture.width)
    if least <= cells <= budget:
        assert (picture.width, picture.height) == (round(page.width / 28) * 28, round(page.height / 28) * 28)
    elif cells < least:  # grown to the least, and no further than rounding up to whole cells takes it
        assert (picture.width // 28 - 1) * (picture.height // 28 - 1) < least <= picture.tokens
    else:
        assert picture.width * picture.height < page.width * page.height


def test_type_of_a_page_within_the_budget_keeps_its_height(engine: Engine, draw: Draw) -> None:
    text = "# HHHH\n\n" + "\n\n".join(["HHHH"] * 6)
    page, picture = fixed_size_page(text, profile="official"), render_downscaled(text, Budget(1024), engine=engine)
    assert picture.tokens < 1024
    before, after = (ink_box(pixels) for pixels in (draw(page), grey(picture.png)))
    assert after[3] - after[1] == pytest.approx(before[3] - before[1], abs=14)  # half a cell


def test_the_augmented_picture_is_four_times_smaller_a_side(prose: str) -> None:
    text = "\n\n".join([prose.replace("\n", " ")] * 3)
    large, small = (render_downscaled(text, Budget(tokens)) for tokens in (512, 512 // 16))
    assert large.tokens > 400
    assert small.tokens <= 32
    for before, after in ((large.width, small.width), (large.height, small.height)):
        assert abs(before / 4 - after) < 28  # whole cells
