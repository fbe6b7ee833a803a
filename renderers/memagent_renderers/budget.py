"""Who reads a view, and what reading costs: the currency in which every budget is paid.

A reader counts text in its own tokens and charges for pictures by its own rule (`memagent_renderers.pricing`). A `Budget` is a
number of such tokens together with the reader who counts them, so that "256 tokens" is never ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from memagent_renderers.errors import BudgetError, InputError
from memagent_renderers.legibility_curve import OCR, LegibilityCurve
from memagent_renderers.pricing import FlatPricing, ImagePricing, PatchPricing

_WIDE_BLANK = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_COUNTED = bytes(
    ord(" ")
    if byte >= 0xC0 or (chr(byte).isspace() and byte < 0x80 and byte != ord("\n"))
    else ord("a")
    if chr(byte).isascii() and chr(byte).isalpha()
    else ord(".")
    for byte in range(256)
)
"""What each byte of UTF-8 counts for: a letter, a token ("."; of other characters every byte but the first), or nothing."""


def estimate_tokens(text: str) -> int:
    """An estimate, on the high side for ordinary text, of what a byte-level BPE tokenizer of today would count.

    Latin words count one token for every four letters begun, digits and ASCII marks one each, other characters one
    for each UTF-8 byte above the first. Use it only where the model's own tokenizer is out of reach.
    """
    if not text.isascii():
        text = _WIDE_BLANK.sub(" ", text)
    counted = text.encode("utf-8", "replace").translate(_COUNTED)
    for letters in (b"aaaa", b"aaa", b"aa", b"a"):
        counted = counted.replace(letters, b".")
    return counted.count(b".")


@dataclass(frozen=True)
class ReaderProfile:
    """How one model reads: its text tokenizer, its picture price, and how small type may get."""

    name: str
    count: Callable[[str], int] = estimate_tokens
    """Tokens of a standalone text, special tokens not counted."""
    exact: bool = False
    """True when `count` is the model's own tokenizer; False when it is a documented estimate on the high side."""
    sees_images: bool = False
    pricing: ImagePricing = field(default_factory=PatchPricing)
    legibility: LegibilityCurve = OCR
    """How small it can read: what layout sets its type sizes by."""

    def image_cost(self, width: int, height: int) -> int:
        """Visual tokens that a picture of this size costs."""
        return self.pricing.cost(width, height)

    @property
    def smallest_legible_px(self) -> float:
        """Type below this size (px of the final picture) is not promised to be read."""
        return self.legibility.smallest()

    @property
    def image_floor(self) -> int:
        """Fewest visual tokens of any picture."""
        return self.pricing.floor


ESTIMATE = ReaderProfile(name="estimate")
"""The reader used when nobody says who will read."""


@dataclass(frozen=True)
class Budget:
    """A positive number of tokens, counted by `reader`. Raises `BudgetError` for zero, negative or non-integers."""

    tokens: int
    reader: ReaderProfile = ESTIMATE

    def __post_init__(self) -> None:
        if isinstance(self.tokens, bool) or not isinstance(self.tokens, int) or self.tokens < 1:
            raise BudgetError(f"a budget is a whole number of tokens, 1 or more, not {self.tokens!r}")


def tokens_for(budget: Budget) -> int:
    """Visual tokens that a page for `budget` may cost. Raises `BudgetError` below the reader's floor."""
    pricing = budget.reader.pricing
    if budget.tokens < pricing.floor:
        raise BudgetError(
            f"every picture costs reader `{budget.reader.name}` at least {pricing.floor} visual tokens; "
            f"the budget is {budget.tokens}. Give {pricing.floor} or more."
        )
    return min(budget.tokens, pricing.ceiling)


def processor_limits(reader: ReaderProfile | ImagePricing) -> dict[str, dict[str, int]]:
    """Keyword arguments with which a transformers image processor passes our pages unchanged, at the price we said.

    For Qwen-VL's processors `size` holds the fewest and the most pixels (not sides, whatever the names say) of a
    picture; for Gemma's the sides of every picture. Give them to the processor's class or to a call. Raises
    `InputError` for readers that are only hosted.
    """
    pricing = reader.pricing if isinstance(reader, ReaderProfile) else reader
    if isinstance(pricing, PatchPricing):
        area = pricing.cell**2
        return {"size": {"shortest_edge": pricing.floor * area, "longest_edge": pricing.ceiling * area}}
    if isinstance(pricing, FlatPricing) and not pricing.cropped:
        return {"size": {"height": pricing.side, "width": pricing.side}}
    raise InputError(f"{pricing} is the price of a hosted model: transformers has no image processor for it")


@dataclass(frozen=True)
class Word:
    """One word that an eye read, with the box it stood in (left, top, right, bottom, px of the picture)."""

    text: str
    box: tuple[float, float, float, float]
    confidence: float = 1.0


@dataclass(frozen=True)
class TextLine:
    """One line of a page as it was set, all of its words in one type size."""

    words: tuple[str, ...]
    tiers: tuple[str, ...]
    """The tier of each word; "" for marks that layout added."""
    faces: tuple[str, ...]
    """The face that each word begins in: "regular", "bold" or "italic"."""
    size: float
    """Type size in px."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in px of the page."""

    @property
    def text(self) -> str:
        """The words with blanks between them."""
        return " ".join(self.words)


@dataclass(frozen=True)
class Picture:
    """A rendered page that fits a visual budget, and what had to give for it."""

    png: bytes = field(repr=False)
    width: int
    height: int
    tokens: int
    """Visual tokens charged by the reader for whom the page was laid out."""
    sizes: dict[str, float] = field(default_factory=dict)
    """Type size in px of each tier on the page ("h1", "h2", "h3", "bold", "h4", "body", "h5", "h6", "small")."""
    dropped: int = 0
    """Blocks of the document that are not on the page, or not whole, because they did not fit."""
    missing: tuple[str, ...] = ()
    """Characters of the document that no font here can draw, sorted; the page shows "�" for each run of them."""
    unreadable: tuple[str, ...] = ()
    """Scripts of the document that the reader cannot read whatever their size: drawn, but never promised legible."""
    lines: tuple[TextLine, ...] = field(default=(), repr=False)
    """What was set on the page, top to bottom; empty for pictures that layout did not make."""


class PictureReader(Protocol):
    """Something that reads a picture: OCR, a calibrated curve, or a model that sees."""

    name: str

    def read(self, picture: Picture) -> list[Word]:
        """Words in reading order."""
        ...


def text_of(words: list[Word]) -> str:
    """The words as text, a line for each line of the page (a word starts a line when it lies below the one before)."""
    lines: list[list[str]] = []
    bottom = float("-inf")
    for word in words:
        middle = (word.box[1] + word.box[3]) / 2
        if middle > bottom:
            lines.append([])
            bottom = word.box[3]
        lines[-1].append(word.text)
    return "\n".join(" ".join(line) for line in lines)
