r"""MemOCR's detail question (T_augQ): words of the drawn memory are blanked, and the reader fills them in from the picture.

Source: arXiv 2601.21468 and its release, with two differences: the window is drawn from what the picture shows of the document
(not its bullets, numbers, bars and "+26 more"), and a page without a word to blank has no detail question, where the released
code rewards an empty box.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from memagent.text.boxed import extract_boxed
from memagent_renderers.budget import TextLine
from memagent_renderers.document import parse
from memagent_training.objectives.memocr import WINDOW, memocr_reward

SPAN = 300
"""Characters of the page that a question is about, and up to a word more."""
BLANKS = 3
BLANK = "[______]"
MIN_CHARS = 3
"""Characters of a word that may be blanked, all of them letters or digits."""
_INSTRUCTION = "Fill the gaps of this text from the picture and give the missing words, separated by commas, in \\boxed{}."


@dataclass(frozen=True)
class Detail:
    """A text with gaps, and what was there."""

    problem: str
    words: tuple[str, ...]
    """In the order of the text, 1 to 3."""

    @property
    def answer(self) -> str:
        """The words as the reader must box them."""
        return ", ".join(self.words)


def page_text(lines: Sequence[TextLine], document: str) -> str:
    """The words of `document` (Markdown) that a page shows, in reading order, with single blanks.

    Marks that layout added are left out, and a word that was cut because it is wider than a line is put together again.
    """
    known = {word for block in parse(document) for word in block.text.split()}
    words: list[str] = []
    for line in lines:
        shown = [
            word
            for word, tier in zip(line.words, line.tiers, strict=True)
            # what layout put there: a bullet, a bar, the number of an item
            if tier and (word in known or (any(map(str.isalnum, word)) and not word[:-1].isdecimal()))
        ]
        while words and shown and not {words[-1], shown[0]} <= known and any(words[-1] + shown[0] in one for one in known):
            words[-1] += shown.pop(0)  # a piece ends a line, the next one begins the next
        words += shown
    return " ".join(words)


def detail_question(text: str, *, seed: int) -> Detail | None:
    """A question about a window of `text`; None where the window has no word of letters and digits longer than two."""
    draw = random.Random(seed)
    words = window(" ".join(text.split()), draw).split()
    candidates = [place for place, word in enumerate(words) if word.isalnum() and len(word) >= MIN_CHARS]
    if not candidates:
        return None
    blanked = sorted(draw.sample(candidates, min(BLANKS, len(candidates))))
    gold = tuple(words[place] for place in blanked)
    for place in blanked:
        words[place] = BLANK
    return Detail(f"{' '.join(words)}\n{_INSTRUCTION}", gold)


def window(text: str, draw: random.Random) -> str:
    """All of a short text; of a longer one some `SPAN` characters from a random place on, in whole words."""
    if len(text) <= SPAN:
        return text
    start = text.rfind(" ", 0, draw.randint(0, len(text) - SPAN) + 1) + 1
    end = text.find(" ", start + SPAN - (start > 0))  # released: from the blank before the first word, or from the text's start
    return text[start:] if end < 0 else text[start:end]


def detail_reward(response: str, detail: Detail, *, partial: bool = False) -> float:
    """1 where all words are given in order, else 0; with `partial` the share of gaps with the right word, place by place."""
    if not partial:
        return memocr_reward(response, [detail.answer])
    boxed = extract_boxed(response[-WINDOW:].lower())
    given = boxed.split(",") if boxed is not None else []
    right = (said.strip() == word.lower() for said, word in zip(given, detail.words, strict=False))
    return sum(right) / len(detail.words)
