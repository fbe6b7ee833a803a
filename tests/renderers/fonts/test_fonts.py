"""Bundled faces, stand-ins, and what is reported when neither can draw a character."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from memagent_renderers import Budget, fit, fonts, render
from memagent_renderers.fonts import fallback

pytestmark = pytest.mark.usefixtures("forgetful")
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


def test_bundled_advance_widths_are_those_in_the_files() -> None:
    for face in fonts.all_faces():
        font = TTFont(io.BytesIO(face.data))
        assert face.advances == {chr(code): font["hmtx"][name][0] for code, name in font.getBestCmap().items()}


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
