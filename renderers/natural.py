"""Pages of natural size, shrunk to the budget afterwards: the published way, kept for comparison.

The MemOCR paper draws a memory at fixed type sizes (16 px body) and shrinks the picture to at most B visual tokens
(arXiv 2601.21468; specification, sections 2.1 to 2.4). `natural_page` sets such a page, `shrink` does the rest. Type of
s px ends up at s * min(1, sqrt(784 B / (W H))): on a long page far below what anybody can read. `best_uniform` is the
strongest renderer of this kind: one size for everything, and just as much text as stays legible after shrinking.

Profiles: "official" has the published page (at most 1152 px wide, an empty line between blocks, its heading sizes, cut
at 656 px when `cut` is set), "default" a tighter one (640 px wide). Both use the bundled typeface, and break lines
themselves, so that every engine draws the same page.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from renderers.acuity import Acuity
from renderers.budget import shrink_to, tokens_for
from renderers.engines import Engine, shared_engine
from renderers.errors import ConfigError
from renderers.layout import Page, document, fill
from renderers.passages import Passage, prepare, word_width
from renderers.pricing import PatchPricing
from renderers.reader import Budget, Line, Picture
from renderers.richtext import TIERS, parse
from renderers.sizing import FACT_WORDS, LARGEST, Rung
from renderers.styles import PLAIN
from renderers.typesetting import Setting, compose, printed, set_lines

MAX_HEIGHT = 4096
"""Height in px at which a natural page ends, with what is lost counted."""
CUT_HEIGHT = 656
"""Height in px at which the published service cut its pictures, without a word."""
BODY = 16.0


@dataclass(frozen=True)
class _DefaultRung(Rung):
    """The sizes of a natural page, with one gap between blocks."""

    width: int = 640
    narrow: bool = False
    """The page is no wider than its longest line."""

    @property
    def margin(self) -> int:
        return 8


@dataclass(frozen=True)
class _OfficialRung(Rung):
    """The published page: text to the edges, half an em above and below each block, empty lines between blocks."""

    width: int = 1152
    narrow: bool = True

    def line(self, tier: str) -> int:
        return round(self.sizes[tier] * 1.15)

    def gap(self, above: str, below: str) -> int:
        return round(self.sizes[above] / 2) + self.line("body") + round(self.sizes[below] / 2)

    @property
    def margin(self) -> int:
        return 0

    @property
    def head(self) -> int:
        return 2 * self.line("body") + round(BODY / 2)


class _UniformRung(Rung):
    """One size for everything, with the leading that browsers give."""

    def line(self, tier: str) -> int:
        return round(self.sizes[tier] * 1.15)


_SCALE = {**LARGEST, "h5": 0.83, "h6": 0.67, "small": 0.83}
_SIZES = {tier: BODY * factor for tier, factor in _SCALE.items()}
PROFILES: dict[str, _DefaultRung | _OfficialRung] = {
    "default": _DefaultRung(_SIZES, loose=True),
    "official": _OfficialRung(_SIZES, loose=True),
}


def natural_page(markdown: str, *, profile: str = "default", cut: bool = False, max_height: int = MAX_HEIGHT) -> Page:
    """The document at natural size, at most `max_height` px high (656 px with `cut`, as published).

    `Page.dropped` counts the blocks that the height does not hold, or not whole; lines that are not wholly on the page
    are not among its `lines`. Raises `ConfigError` for a profile that does not exist.
    """
    if profile not in PROFILES:
        raise ConfigError(f"no page profile is called `{profile}`; there are: {', '.join(PROFILES)}")
    rung = PROFILES[profile]
    passages, missing = prepare(parse(markdown))
    setting = set_lines(compose([(one, len(one.words)) for one in passages], rung, 0), rung, rung.width)
    body, lines = printed(setting, rung)
    width = math.ceil(max((line.box[2] for line in lines), default=1)) if rung.narrow else rung.width
    height = max(1, min(setting.height, CUT_HEIGHT if cut else max_height))
    shown = tuple(line for line in lines if line.box[3] <= height)
    sizes = {tier: rung.sizes[tier] for tier in TIERS if any(passage.tier == tier for passage in passages)}
    dropped = sum(bottom > height for bottom in _bottoms(setting, rung))
    return Page(document(body, width, height, rung), width, height, sizes, dropped, tuple(sorted(missing)), shown)


def _bottoms(setting: Setting, rung: Rung) -> list[int]:
    """Where each block ends, in px."""
    bottoms: list[int] = []
    top, above = rung.head, ""
    for group, breaks in zip(setting.groups, setting.breaks, strict=True):
        top += (rung.gap(above, group.tier) if above else 0) + len(breaks) * rung.line(group.tier)
        bottoms.append(top)
        above = group.tier
    return bottoms


def shrink(
    markdown: str, budget: Budget, *, profile: str = "official", cut: bool = False, engine: Engine | None = None
) -> Picture:
    """The document on a page of natural size, the picture of it shrunk to the budget (Lanczos, once).

    `Picture.sizes` and `lines` tell the type sizes after shrinking. A page within the budget is not enlarged beyond the
    8 tokens (or half the budget) that the published limits ask for. Raises `BudgetError` below the reader's floor.
    """
    tokens_for(budget)
    return _shrunk(natural_page(markdown, profile=profile, cut=cut), budget, engine)


def best_uniform(markdown: str, budget: Budget, *, engine: Engine | None = None) -> Picture:
    """The same text without headings or emphasis in one size, shrunk; the best such picture by the reader's acuity.

    The page has the budget's own shape and 16 px type on the published leading. It is as large as makes 16 px come down
    to the size at which most text is read (`FACT_WORDS` words at a time), and is cut at the bottom. A document that is
    short enough for larger type gets it.
    """
    tokens = tokens_for(budget)
    passages, missing = prepare(parse(markdown))
    plain = [_plain(passage) for passage in passages]
    acuity = budget.reader.acuity
    pages = [_uniform_page(plain, size, tokens, budget) for size in (half / 2 for half in range(10, 33))]
    best = max(pages, key=lambda page: (round(_carried(page, tokens, budget, acuity), 6), -page.width))
    return replace(_shrunk(best, budget, engine), missing=tuple(sorted(missing)))


def _plain(passage: Passage) -> Passage:
    words = [tuple((text, PLAIN) for text, _ in word) for word in passage.words]
    return Passage("body", words, [word_width(word) for word in words], passage.depth, passage.marked)


def _uniform_page(passages: Sequence[Passage], size: float, tokens: int, budget: Budget) -> Page:
    """As much text as a page holds on which 16 px type will shrink to `size` px."""
    width, height = budget.reader.pricing.largest(tokens)
    rung = _UniformRung(dict.fromkeys(TIERS, BODY), loose=False)
    return fill(passages, rung, round(width * BODY / size), round(height * BODY / size))


def _carried(page: Page, tokens: int, budget: Budget, acuity: Acuity) -> float:
    """Characters of the page that arrive, by acuity, once it is shrunk."""
    _, height = _target(page, tokens, budget)
    share = acuity.share(BODY * min(1.0, height / page.height)) ** FACT_WORDS
    return share * sum(len(word) for line in page.lines for word in line.words)


def _target(page: Page, tokens: int, budget: Budget) -> tuple[int, int]:
    """The size to which a page is shrunk."""
    pricing = budget.reader.pricing
    if isinstance(pricing, PatchPricing):
        return shrink_to(page.width, page.height, tokens, cell=pricing.cell, floor=pricing.floor)
    width, height = pricing.largest(tokens)
    scale = min(1.0, width / page.width, height / page.height)
    return max(1, math.floor(page.width * scale)), max(1, math.floor(page.height * scale))


def _shrunk(page: Page, budget: Budget, engine: Engine | None) -> Picture:
    """The drawn page, resized to the budget."""
    from PIL import Image

    drawer = engine or shared_engine()
    png = drawer.draw(page.html, page.width, page.height)
    width, height = _target(page, tokens_for(budget), budget)
    if (width, height) != (page.width, page.height):
        image = Image.open(io.BytesIO(png)).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        png = buffer.getvalue()
    across, down = width / page.width, height / page.height
    return Picture(
        png,
        width,
        height,
        budget.reader.image_cost(width, height),
        {tier: size * down for tier, size in page.sizes.items()},
        page.dropped,
        page.missing,
        tuple(_scaled(line, across, down) for line in page.lines),
    )


def _scaled(line: Line, across: float, down: float) -> Line:
    left, top, right, bottom = line.box
    return replace(line, size=line.size * down, box=(left * across, top * down, right * across, bottom * down))
