"""Bundled faces, stand-ins, and fallback fonts: found, measured, drawn, and reported when absent."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image

from memagent_renderers import Budget, fit, fonts, layout, line_layout, render, styled_blocks
from memagent_renderers.engines import Engine, shared_engine
from memagent_renderers.engines.browser import BrowserEngine
from memagent_renderers.engines.html import page_html
from memagent_renderers.errors import ConfigError
from memagent_renderers.fonts import fallback, shaping
from memagent_renderers.picture import page_key
from memagent_renderers.styles import PLAIN

SCRIPTS = {
    "French": "Œuvre où l’été « goûte » ça, naïve — 12 345 €…",
    "German": "Zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich „quer“",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Vietnamese": "Đồng bằng sông Cửu Long, gần chợ Hàn, bữa sáng phở",
    "Turkish, Romanian, Icelandic": "Iğdır şişe ţară și Þórður æði",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία· ΐ ΰ",
    "Russian, Ukrainian, Serbian": "Съешь ещё этих мягких булок; ґанок її; љубав ђак џеп",
    "signs": "£5 ₤ ₹ ₽ ₩ ± × ÷ ≈ ≠ ≤ ≥ ∞ √ ∑ ∫ ° ‰ § ¶ † ‡ • № ™ © ® ½ ¼ ¾ x² 10⁻³ H₂O",
}
IDEOGRAPHS = "東京都国語学校水火木金土日月年山川田中人口目耳手足力"


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    """What was measured with one fallback is not used with the next."""
    yield
    for kept in (layout._fit, styled_blocks.width_of, styled_blocks._units, fallback._asked_for, fallback._face_of):
        kept.cache_clear()


def tiny_font(
    path: Path, characters: str, *, advance: int = 1000, units: int = 1000, ascent: float = 1.0, cff: bool = False
) -> Path:
    """A font whose characters are black boxes, `advance` font units wide."""
    names = [".notdef", *(f"c{ord(char):x}" for char in characters)]
    builder = FontBuilder(units, isTTF=not cff)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(char): f"c{ord(char):x}" for char in characters})
    pen = T2CharStringPen(advance, None) if cff else TTGlyphPen(None)
    left, right, top = units // 10, advance - units // 10, units * 8 // 10
    pen.moveTo((left, 0))
    for point in ((left, top), (right, top), (right, 0)):
        pen.lineTo(point)
    pen.closePath()
    if cff:
        charstring = pen.getCharString()
        builder.setupCFF("Tiny", {}, dict.fromkeys(names, charstring), {})
    else:
        builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (advance, left)))
    builder.setupHorizontalHeader(ascent=round(ascent * units), descent=-units // 2)
    builder.setupNameTable({"familyName": "Tiny", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=round(ascent * units), usWinAscent=round(ascent * units))
    builder.setupPost()
    builder.save(path)
    return path


def collection(path: Path) -> Path:
    """Two tiny fonts in one file; only the first is used."""
    whole = TTCollection()
    for index, characters in enumerate((IDEOGRAPHS, "ab")):
        part = tiny_font(path.with_suffix(f".{index}.ttf"), characters)
        whole.fonts.append(TTFont(part))
    whole.save(path)
    return path


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def chosen(*paths: Path) -> None:
        monkeypatch.setenv(fallback.VARIABLE, os.pathsep.join(map(str, paths)))

    return chosen


def ink(png: bytes) -> numpy.ndarray:
    """Where the page is dark; shape (height, width)."""
    return numpy.asarray(Image.open(io.BytesIO(png)).convert("L")) < 100


# -- bundled faces ----------------------------------------------------------------------------------------------------


def test_bundled_faces_are_those_of_the_digest_small_and_alike() -> None:
    faces = fonts.all_faces()
    assert hashlib.sha256(b"".join(face.data for face in faces)).hexdigest() == fonts.DIGEST
    assert len({frozenset(face.advances) for face in faces}) == 1
    assert all(len(face.data) < 300_000 for face in faces)
    folder = Path(fonts.__file__).parent
    assert f"({len(faces[0].advances)} characters)" in (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_european_scripts_are_drawn_as_written(script: str) -> None:
    assert fonts.substitute(SCRIPTS[script]) == (SCRIPTS[script], set())


@pytest.mark.parametrize(
    ("written", "drawn"),
    [
        ("a → b", "a -> b"),
        ("12\u202f000", "12\u00a0000"),
        ("ﬃ Ⅳ 𝐀𝐝𝐚 ℃", "ffi IV Ada °C"),
        ("1⅓ cups", "1¹⁄₃ cups"),
        ("ḥ", "h\u0323"),
        ("✓ ☐ ☑", "√ [ ] [x]"),
    ],
)
def test_signs_are_written_with_others_that_mean_the_same(written: str, drawn: str) -> None:
    assert fonts.substitute(written) == (drawn, set())


def test_powers_and_ratings_are_never_rewritten() -> None:
    assert [fonts.stand_in(char) for char in "ᵃ㎡★☆①"] == [""] * 5
    assert fonts.substitute("5 ㎡") == ("5 �", {"㎡"})


# -- without a fallback -----------------------------------------------------------------------------------------------


def test_without_a_fallback_each_run_is_one_mark_and_reported() -> None:
    assert fonts.substitute("in 東京 and 大阪 שלום") == ("in � and � �", set("東京大阪שלום"))
    assert "fonts-noto-cjk" in fallback.advice("京")
    assert fallback.VARIABLE in fallback.advice("京")
    assert fallback.advice("ש😀").count("apt install") == 2
    assert fallback.advice("\ue000") == ""


def test_pages_in_european_scripts_look_for_no_font(monkeypatch: pytest.MonkeyPatch, memory: str) -> None:
    monkeypatch.delenv(fallback.VARIABLE)
    monkeypatch.setattr(fallback, "_manager", None)
    document = memory + "\n\n".join(SCRIPTS.values()) + "\n\n→ ✓"
    page = fit(document, Budget(1024))
    assert not any(span.face.startswith(fallback.FAMILY) for span in page.spans)
    assert page.missing == ()
    render(document, Budget(1024))


def test_what_is_not_drawn_is_missing_and_not_also_illegible() -> None:
    page = fit("سلام and Привет", Budget(16))
    assert page.missing == tuple(sorted(set("سلام")))
    assert page.unreadable == ("Cyrillic",)


# -- with a fallback --------------------------------------------------------------------------------------------------


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


def test_bundled_advance_widths_are_those_in_the_files() -> None:
    for face in fonts.all_faces():
        font = TTFont(io.BytesIO(face.data))
        assert face.advances == {chr(code): font["hmtx"][name][0] for code, name in font.getBestCmap().items()}


# -- line ends --------------------------------------------------------------------------------------------------------


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


# -- fonts of the machine ---------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Uses the fonts of this machine; skips where it has none for these characters."""

    def use_or_skip(characters: str, what: str) -> None:
        monkeypatch.delenv(fallback.VARIABLE)
        if not all(map(fallback.face_of, characters)):
            pytest.skip(f"no font for {what} here")

    return use_or_skip


@pytest.mark.parametrize("tokens", [64, 256])
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


def test_arabic_is_joined_and_runs_from_right_to_left(machine: Callable[..., None]) -> None:
    machine("سلام", "Arabic and Hebrew")
    page = fit("سلام يا صديقي", Budget(64))
    assert page.missing == ()
    assert "Arabic" in page.unreadable
    starts = {word: span.left for span in page.spans if (word := span.text.strip())}
    assert starts["سلام"] > starts["يا"] > starts["صديقي"]
    assert page.lines[0].box[2] == pytest.approx(page.width - 4, abs=2)  # set to the right
    (name,) = {span.face for span in page.spans if "س" in span.text}
    joined = fonts.shape(name, "سلام", True).glyphs
    alone = {glyph for char in "سلام" for glyph in fonts.shape(name, char, True).glyphs}
    assert set(joined) - alone


def test_a_number_and_a_latin_word_keep_their_direction_within_arabic(machine: Callable[..., None]) -> None:
    machine("سلام", "Arabic and Hebrew")
    shown = "".join(text for text, *_ in line_layout._ordered([("رقم 7:40 ثم Lyon (France) نعم", PLAIN)], rtl=True))
    assert re.findall(r"[\w:]+", shown) == ["نعم", "Lyon", "France", "ثم", "7:40", "رقم"]


def test_emoji_and_their_sequences_are_drawn_in_colour_as_one_sign_each(machine: Callable[..., None]) -> None:
    machine("😀🚀", "emoji")
    page = fit("😀 👩\u200d🚀 👍🏽", Budget(16))
    assert page.missing == ()
    signs = [span for span in page.spans if span.text.strip()]
    assert [len(fonts.shape(span.face, span.text).glyphs) for span in signs] == [1, 1, 1]
    pixels = numpy.asarray(Image.open(io.BytesIO(shared_engine().draw(page))).convert("RGB")).astype(int)
    assert (numpy.ptp(pixels, axis=2) > 60).any()


# -- order of directions (Unicode annex 9) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rtl", "shown"),
    [
        ("abc", False, "abc"),
        ("abc אבג def", False, "abc גבא def"),
        ("אבג abc דהו", True, "והד abc גבא"),
        ("אבג 123 דהו", True, "והד 123 גבא"),
        ("abc אבג 1-2, דה.", False, "abc הד ,1-2 גבא."),
        ("אבג (abc) דהו.", True, ".והד )abc( גבא"),  # the shaper turns them round
        ("a (אב) b", False, "a (בא) b"),
        ("מחיר $5.50!", True, "!$5.50 ריחמ"),
        ("نعم 12٪", True, "٪12 معن"),
    ],
)
def test_directions_are_ordered_as_unicode_says(text: str, rtl: bool, shown: str) -> None:
    levels = shaping.levels(text, rtl=rtl)
    assert "".join(text[place] for place in shaping.visual(levels)) == shown
