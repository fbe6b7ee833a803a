"""What can be read back from a picture, and how small an eye can read.

Words that were set on a page are aligned with the words that an eye read, in order and each used once: a word counts
as legible when it comes back exactly, letter case aside. (Asking whether a word occurs anywhere among those read would
flatter common ones.) From the shares by type size `calibrate` makes the curves that layout works with.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memagent_renderers.budget import Picture, PictureReader
from memagent_renderers.calibration_text import sample_text
from memagent_renderers.document import TIERS, parse
from memagent_renderers.engines import Engine, shared_engine
from memagent_renderers.errors import InputError
from memagent_renderers.fonts import UNKNOWN
from memagent_renderers.layout import fill
from memagent_renderers.legibility_curve import LegibilityCurve, Points
from memagent_renderers.pricing import PatchPricing
from memagent_renderers.styled_blocks import prepare
from memagent_renderers.type_scale import TypeScale

SIZES = (5.0, 6.0, 6.5, 7.0, 7.5, 8.0, 9.0, 10.0, 12.0, 16.0)
"""Type sizes in px that are measured unless others are asked for."""
PAGE = (280, 168)
"""Width and height in px of the pages that are measured."""


@dataclass(frozen=True)
class PlacedWord:
    """A word of a page and whether the eye read it."""

    text: str
    tier: str
    size: float
    face: str
    read: bool


@dataclass(frozen=True)
class Reading:
    """Every word that was set on a picture, in order, with what an eye made of it."""

    words: tuple[PlacedWord, ...]
    tokens: int
    """Visual tokens of the picture."""

    def share(self, *, tier: str | None = None) -> float | None:
        """Share of the document's words read right, of one tier or of all; None when there are none.

        Marks that layout added do not count.
        """
        words = [word for word in self.words if word.tier and tier in (None, word.tier)]
        return sum(word.read for word in words) / len(words) if words else None

    def promised(self, legibility: LegibilityCurve) -> list[PlacedWord]:
        """The document's words that layout promises legible to this eye: large enough, and in letters that it knows."""
        least = legibility.smallest()
        return [
            word
            for word in self.words
            if word.tier and word.size >= least and UNKNOWN not in word.text and not legibility.unreadable(word.text)
        ]

    @property
    def tiers(self) -> dict[str, float]:
        """Share of words read right in each tier that is on the page."""
        shares = ((tier, self.share(tier=tier)) for tier in TIERS)
        return {tier: share for tier, share in shares if share is not None}

    @property
    def characters(self) -> int:
        """Characters of the document's words that were read right, blanks not counted."""
        return sum(len(word.text) for word in self.words if word.read and word.tier)

    @property
    def density(self) -> float:
        """Legible characters per visual token."""
        return self.characters / max(1, self.tokens)


def aligned(placed: Sequence[str], read: Sequence[str]) -> list[bool]:
    """For each word placed whether it was read: both in order, each word read used once, letter case ignored.

    That is the longest common subsequence of the two (Hunt and Szymanski's method).
    """
    places: dict[str, list[int]] = {}
    for at, word in enumerate(read):
        places.setdefault(word.casefold(), []).append(at)
    ends: list[int] = []  # ends[k]: where in `read` a common run of k + 1 words can end at the earliest
    runs: list[_Run] = []  # the run that does
    for place, word in enumerate(placed):
        for at in reversed(places.get(word.casefold(), ())):
            length = bisect_left(ends, at)
            run = _Run(place, runs[length - 1] if length else None)
            ends[length : length + 1] = [at]
            runs[length : length + 1] = [run]
    found = [False] * len(placed)
    last = runs[-1] if runs else None
    while last is not None:
        found[last.place] = True
        last = last.before
    return found


class _Run(NamedTuple):
    """The last word of a common run, by its place among those placed, and the run before it."""

    place: int
    before: _Run | None


def read_back(picture: Picture, eye: PictureReader) -> Reading:
    """What `eye` reads of a picture. Raises `InputError` for pictures that layout did not make."""
    if not picture.lines and picture.dropped:
        raise InputError("this picture does not say what was set on it; only pictures made by `render` do")
    placed = [
        (word, tier, line.size, face)
        for line in picture.lines
        for word, tier, face in zip(line.words, line.tiers, line.faces, strict=True)
    ]
    found = aligned([word for word, *_ in placed], [word.text for word in eye.read(picture)])
    words = tuple(PlacedWord(*word, read) for word, read in zip(placed, found, strict=True))
    return Reading(words, picture.tokens)


def calibrate(
    eye: PictureReader,
    *,
    engine: Engine | None = None,
    sizes: Sequence[float] = SIZES,
    words: int = 400,
    seed: int = 0,
    scripts: frozenset[str] | None = None,
) -> LegibilityCurve:
    """Measure how small `eye` can read: the share of `words` made-up words that come back at each size and weight.

    `eye` may be OCR or a model that sees, behind the `PictureReader` protocol. Pages are dense, as an overfull memory is. The
    curves are made to rise: a size is taken to be read at least as well as any smaller one. The text is English;
    `scripts` names those that the eye can read at all, None says any. Give the result to a
    `ReaderProfile` (`legibility=`) and layout sets its type by it; `LegibilityCurve.save` and `load` keep it.
    """
    drawer = engine or shared_engine()
    curves: list[Points] = []
    for heavy in (False, True):
        points: list[tuple[float, float]] = []
        for size in sorted(set(sizes)):
            pages = sample_pages(drawer, size, bold=heavy, words=words, seed=seed)
            every = [word.read for page in pages for word in read_back(page, eye).words if word.tier]
            # at least the share of the size below: a dip is noise of the measurement
            points.append((size, max(round(sum(every) / len(every), 4), points[-1][1] if points else 0.0)))
        curves.append(tuple(points))
    return LegibilityCurve(f"{eye.name} on {drawer.name}", curves[0], curves[1], scripts)


def sample_pages(engine: Engine, size: float, *, bold: bool, words: int, seed: int) -> list[Picture]:
    """Drawn pages of dense made-up text in one size, together at least `words` words."""
    rung = TypeScale(dict.fromkeys(TIERS, size), loose=False)
    pages: list[Picture] = []
    count = 0
    while count < words:
        text = sample_text(words, seed=seed + 1000 * len(pages))
        passages, _ = prepare(parse(f"**{text}**" if bold else text))
        page = fill(passages, rung, *PAGE)
        picture = Picture(
            engine.draw(page),
            *PAGE,
            PatchPricing().cost(*PAGE),
            page.sizes,
            page.dropped,
            page.missing,
            lines=page.lines,
        )
        pages.append(picture)
        count += sum(len(line.words) for line in page.lines)
    return pages
