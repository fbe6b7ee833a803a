"""Directions and joined scripts; shaping shares a process with what else a chat loads."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations

import pytest

from memagent_renderers import Budget, fit, fonts, line_layout
from memagent_renderers.fonts import shaping
from memagent_renderers.styles import PLAIN


@pytest.mark.parametrize("order", list(permutations(("xllamacpp", "uharfbuzz"))), ids="-".join)
def test_shaping_and_the_embedded_model_load_into_one_process(order: tuple[str, ...]) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    statement = "; ".join(f"import {name}" for name in (*order, "skia", "faiss", "Stemmer", "tokenizers"))
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
