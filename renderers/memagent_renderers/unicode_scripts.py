"""Scripts of a text, and which of them the packaged OCR reads: nothing else is ever promised to be legible.

Measured by `docs/measure_scripts.py` (the table is in docs/guides/rendering.md), and explained by the alphabet inside the OCR
model (PP-OCRv6 small, rapidocr 3.10): it has Latin letters with their usual marks, Chinese and Japanese; of Vietnamese
it lacks the letters U+1EA0 to U+1EF9, of Greek those with accents, and of Cyrillic, Korean and others everything.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

READ_BY_OCR = frozenset(("Latin", "Han", "Kana"))
"""Scripts of which the packaged OCR reads at least 0.95 of the words (Han, Kana: characters) at 12 px."""

_NAMES = {"Cjk": "Han", "Hiragana": "Kana", "Katakana": "Kana", "Katakana-Hiragana": "Kana", "Ideographic": "Han"}
_WORD = re.compile(r"[^\W\d_]+")
_EUROPEAN = re.compile("[\x00-\u024f\u2000-\u20cf]*")
"""Latin letters and the marks that go with them."""
_VIETNAMESE = re.compile("[\u1ea0-\u1ef9]")


def scripts_of(text: str) -> set[str]:
    """Names of the scripts in which words of `text` are written: "Latin", "Greek", "Cyrillic", "Han", "Kana", "Hangul"...

    A script counts from two letters in one word on, or any number of East Asian ones: a lone "α" or "µ" is a sign.
    Words with letters that only Vietnamese has are "Vietnamese" besides "Latin".
    """
    if _EUROPEAN.fullmatch(text):
        return {"Latin"} if _WORD.search(text) else set()
    found: set[str] = set()
    for word in set(_WORD.findall(unicodedata.normalize("NFKC", text))):
        counts = Counter(map(_script_of, word))
        found |= {script for script, count in counts.items() if count > 1 or script in ("Han", "Kana", "Hangul")}
        if _VIETNAMESE.search(word):
            found.add("Vietnamese")
    return found


@lru_cache(maxsize=8192)
def _script_of(letter: str) -> str:
    """The script of one letter, by the first word of its Unicode name."""
    name = unicodedata.name(letter, "unknown").partition(" ")[0].title()
    return _NAMES.get(name, name)
