"""Fallback fonts: named ones and those of the machine, measured and drawn."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from helpers.tiny_fonts import IDEOGRAPHS, collection, ink, tiny_font
from PIL import Image

from memagent_renderers import Budget, fit, fonts, layout, render, styled_blocks
from memagent_renderers.engines import Engine, shared_engine
from memagent_renderers.engines.browser import BrowserEngine
from memagent_renderers.engines.html import page_html
from memagent_renderers.errors import ConfigError
from memagent_renderers.fonts import fallback, shaping
from memagent_renderers.picture import page_key


@pytest.mark.parametrize("kind", ["ttf", "otf", "ttc"])
@pytest.mark.parametrize("engine_name", ["embedded", pytest.param("browser", marks=pytest.mark.browser)])
def test_a_fallback_is_measured_and_drawn(
    kind: str, engine_name: str, tmp_path: Path, use: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue("browser") if engine_name == "browser" else shared_engine("embedded")
    path = tmp_path / f"tiny.{kind}"
    use(collection(path) if kind == "ttc" else tiny_font(path, IDEOGRAPHS, cff=kind == "otf"))
    page = fit("東京 is **日月**", Budget(64))
    assert page.missing == ()
    size = page.sizes["body"]
    assert size == 16
    assert fonts.width("bold", "東京") == 2 * fonts.face("bold").units
    dark = ink(engine.draw(page))
    assert dark.sum() == pytest.approx(4 * (0.8 * size) ** 2, rel=0.25)  # four boxes and "is"
    boxes = numpy.flatnonzero(dark[:, : 2 * 16].any(axis=0))
    assert boxes[0] == pytest.approx(4 + 1.6, abs=1.5)  # margin, side bearing


@pytest.mark.parametrize(("units", "advance"), [(256, 256), (1000, 1000), (2048, 1024)])
@pytest.mark.parametrize("tokens", [16, 64])
def test_lines_with_a_fallback_neither_overflow_nor_grow(
    units: int, advance: int, tokens: int, tmp_path: Path, use: Callable[..., None]
) -> None:
    use(tiny_font(tmp_path / "tiny.ttf", IDEOGRAPHS + "、。", units=units, advance=advance))
    text = "".join(random.Random(tokens).choices(IDEOGRAPHS + "、。ab7", k=600))
    page = fit(f"{text} plain words between {text}", Budget(tokens))
    picture = render(f"{text} plain words between {text}", Budget(tokens))
    dark = ink(picture.png)
    assert not dark[:, -1].any()
    _, top, _, bottom = page.lines[-1].box
    assert top <= numpy.flatnonzero(dark.any(axis=1))[-1] < bottom <= picture.height  # the last line is where it was planned
    assert not {line.text[0] for line in page.lines} & set("、。")
    assert numpy.mean([line.box[2] > 0.85 * page.width for line in page.lines]) > 0.8  # lines are filled


@pytest.mark.parametrize("engine_name", ["embedded", pytest.param("browser", marks=pytest.mark.browser)])
def test_lines_keep_their_height_whatever_the_font_says(
    engine_name: str, tmp_path: Path, use: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue("browser") if engine_name == "browser" else shared_engine("embedded")
    pictures = []
    for ascent in (0.9, 3.0):
        use(tiny_font(tmp_path / f"{ascent}.ttf", IDEOGRAPHS, ascent=ascent))
        layout._fit.cache_clear()
        page = fit("東京 is a\n\n" * 8, Budget(256))
        pictures.append(engine.draw(page))
    assert pictures[0] == pictures[1]


def test_another_font_is_another_picture(tmp_path: Path, use: Callable[..., None]) -> None:
    keys = []
    for advance in (1000, 998):
        use(tiny_font(tmp_path / "tiny.ttf", IDEOGRAPHS, advance=advance))
        for kept in (fallback._asked_for, fallback._face_of, layout._fit, styled_blocks.width_of):
            kept.cache_clear()
        keys.append(page_key(fit("東京", Budget(16)), shared_engine()))
    assert keys[0] != keys[1]


def test_the_first_font_that_has_a_character_draws_it(tmp_path: Path, use: Callable[..., None]) -> None:
    first, second = tiny_font(tmp_path / "a.ttf", "東"), tiny_font(tmp_path / "b.ttf", "東京\U00020000")
    use(first, second)
    sources = [face and face.source for face in map(fallback.face_of, "東京\U00020000한aя")]
    assert sources == [first, second, second, None, None, None]
    page = fit("東京", Budget(16))
    assert [fonts.named(span.face).source for span in page.spans] == [first, second]
    html = page_html(page)
    assert [face.source for face in fallback.faces_in(html)] == [first, second]
    assert fallback.faces_in(html.replace(fallback.FAMILY, "Other")) == []


def test_a_page_may_name_fonts_that_nobody_has(tmp_path: Path, use: Callable[..., None]) -> None:
    use(tiny_font(tmp_path / "tiny.ttf", "東"))
    picture = render(f"{fallback.FAMILY} 0123456789abcdef 東", Budget(64))
    assert picture.missing == ()


@pytest.mark.parametrize("content", [b"", b"no font at all", b"\0\1\0\0\0\x09", b"OTTO\0\0"])
def test_a_file_that_is_no_font_is_named(content: bytes, tmp_path: Path, use: Callable[..., None]) -> None:
    (tmp_path / "bad.ttf").write_bytes(content)
    use(tmp_path / "bad.ttf")
    with pytest.raises(ConfigError, match=r"MEMAGENT_FALLBACK_FONT names .*bad\.ttf.*; name a \.ttf"):
        fit("東京", Budget(16))
    fit("no such characters", Budget(16))


def test_damaged_fonts_are_refused_or_drawn_with(tmp_path: Path, use: Callable[..., None]) -> None:
    whole = tiny_font(tmp_path / "tiny.ttf", IDEOGRAPHS).read_bytes()
    draw = random.Random(0)
    refused = 0
    for turn in range(200):
        data = bytearray(whole)
        for _ in range(8):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path = tmp_path / f"damaged{turn}.ttf"
        path.write_bytes(data if turn % 2 else whole[: draw.randrange(len(whole))])
        use(path)
        try:
            render("東京", Budget(4))
        except ConfigError:
            refused += 1
        for kept in (layout._fit, styled_blocks.width_of, shaping.shape):
            kept.cache_clear()
    assert refused > 50


# -- fonts of the machine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [pytest.param(64, marks=pytest.mark.slow), 256])
def test_the_eye_reads_chinese_and_japanese(tokens: int, machine: Callable[..., None]) -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    from memagent_renderers import RapidOcrReader, text_of

    machine("图ビ", "Chinese and Japanese")
    text = (
        "林晓住在苏州，养了一只比格犬。每周三去看兽医，对花生过敏。\n\n田中さんは京都に住み、ビスケットという犬を飼っている。"
    )
    picture = render(text, Budget(tokens))
    assert picture.missing == ()
    placed, read = ("".join(one.split()) for one in (text, text_of(RapidOcrReader().read(picture))))
    assert sum(char in read for char in placed) / len(placed) >= 0.9


@pytest.mark.browser
@pytest.mark.parametrize(
    ("characters", "what", "text"),
    [
        ("图", "Chinese and Japanese", "# 林晓\n住在苏州，养了一只**比格犬**。每周三去看兽医，对花生过敏。"),
        ("عש", "Arabic and Hebrew", "# العربية\nكيف حالك (hello) 123، שלום עולם! and then"),
        ("क", "Devanagari", "# हिन्दी\nमें क्षत्रिय and प्रार्थना"),
    ],
)
def test_both_engines_draw_fonts_of_the_machine_in_the_same_places(
    characters: str, what: str, text: str, browser: BrowserEngine, machine: Callable[..., None]
) -> None:
    machine(characters, what)
    page = fit(text, Budget(64))
    first, second = (ink(engine.draw(page)) for engine in (shared_engine("embedded"), browser))
    edges = [numpy.flatnonzero(dark.any(axis=axis))[[0, -1]] for dark in (first, second) for axis in (0, 1)]
    assert numpy.abs(edges[0] - edges[2]).max() <= 1
    assert numpy.abs(edges[1] - edges[3]).max() <= 1


def test_emoji_and_their_sequences_are_drawn_in_colour_as_one_sign_each(machine: Callable[..., None]) -> None:
    machine("😀🚀", "emoji")
    page = fit("😀 👩\u200d🚀 👍🏽", Budget(16))
    assert page.missing == ()
    signs = [span for span in page.spans if span.text.strip()]
    assert [len(fonts.shape(span.face, span.text).glyphs) for span in signs] == [1, 1, 1]
    pixels = numpy.asarray(Image.open(io.BytesIO(shared_engine().draw(page))).convert("RGB")).astype(int)
    assert (numpy.ptp(pixels, axis=2) > 60).any()
