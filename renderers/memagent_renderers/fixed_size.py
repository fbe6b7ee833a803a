"""Pages of natural size, shrunk to the budget afterwards: the published way, kept for comparison.

The MemOCR paper draws a memory at fixed type sizes (16 px body) and shrinks the picture to at most B visual tokens
(arXiv 2601.21468). `fixed_size_page` sets such a page, `render_downscaled` does the rest.
Type of s px ends up at s * min(1, sqrt(784 B / (W H))): on a long page far below what anybody can read. `best_uniform` is the
strongest renderer of this kind: one size for everything, and just as much text as stays legible after shrinking.

Profiles: "official" has the spaces of the published page, line ends kept and empty lines between blocks included (a test
holds it against Chromium with the published style sheet), "default" is tighter. Both use the bundled typeface, on the
published leading, and break lines themselves, so that every engine draws the same page. Not followed: type sizes asked
for inside a paragraph, columns of tables, code in a typeface of its own.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from memagent_renderers import fonts
from memagent_renderers.budget import Budget, Picture, TextLine, tokens_for
from memagent_renderers.document import TIERS, Block, Run, parse
from memagent_renderers.engines import Engine, shared_engine
from memagent_renderers.errors import ConfigError, InputError
from memagent_renderers.layout import Page, fill
from memagent_renderers.legibility_curve import OCR, LegibilityCurve
from memagent_renderers.line_layout import Span, compose, place, set_lines
from memagent_renderers.pricing import PatchPricing, shrink_to
from memagent_renderers.styled_blocks import BLANK, StyledBlock, prepare, word_width
from memagent_renderers.styles import MAX_FONT_PX, MIN_FONT_PX
from memagent_renderers.type_scale import FACT_WORDS, LARGEST, TypeScale

MAX_HEIGHT = 4096
"""Height in px at which a natural page ends, with what is lost counted."""
CUT_HEIGHT = 656
"""Height in px at which the published service cut its pictures, without a word."""
BODY = 16.0
LEADING = 1.15
"""Height of a line over type size, as browsers set the published page in Times."""
_SCALE = {**LARGEST, "h5": 0.83, "h6": 0.67, "small": 0.83}
_SIZES = {tier: BODY * factor for tier, factor in _SCALE.items()}
_POINTS = ((5.0, 0.447), (5.5, 0.777), (6.0, 0.854), (6.5, 0.930), (7.0, 0.978), (7.5, 0.991), (9.0, 0.991))
SHRUNK = LegibilityCurve("ocr-2x on shrunk pages", _POINTS, _POINTS)
"""The packaged OCR eye on pages of 16 px type shrunk to each size (at least 600 words of `sample_text` each, at 64 tokens).

It reads shrunk type below 7 px far better than type set at that size, whose edges fall on whole pixels.
"""
_TEMPLATE_BLANKS = 12
"""Blanks with which the published template indents the content: no picture of it is narrower."""
_LINE_END = re.compile("[ \t]*\r?\n")


@dataclass(frozen=True)
class FixedSizePage(Page):
    """A page of natural size, not yet drawn."""

    @property
    def truncated(self) -> bool:
        """Whether the height does not hold all of the document; `dropped` counts the blocks."""
        return self.dropped > 0


@dataclass(frozen=True)
class _DefaultRung(TypeScale):
    """The sizes of a natural page, and its spaces: small margins, one gap between blocks."""

    width: int = 640
    narrow: bool = False
    """The page is no wider than its longest line."""
    keeps_lines: bool = False
    """Line ends within paragraphs are kept."""

    @property
    def margin(self) -> int:
        return 8

    @property
    def head(self) -> int:
        return 0

    def space(self, above: Block | None, below: Block | None) -> int:
        """Space in px between two blocks, or between a block and the end of the page."""
        ends = (above is None) + (below is None)
        return self.margin * ends if ends else self.gap("body", "body")

    def left(self, block: Block, passage: StyledBlock) -> int:
        """Indent in px of a block."""
        return round(self.sizes["body"]) * min(block.depth, 6)

    @property
    def least_width(self) -> int:
        """Width in px of the narrowest page."""
        return math.ceil(self._px(_TEMPLATE_BLANKS * BLANK)) if self.narrow else self.width

    def _px(self, units: float) -> float:
        """Font units of body type as px."""
        return units * self.sizes["body"] / fonts.face("regular").units


@dataclass(frozen=True)
class _OfficialRung(_DefaultRung):
    """The published page. Its `white-space: pre-wrap` shows each line end of the HTML as a line, also between tags:

    two lines at either end of the page, one between blocks, and one before, between and after the items of a list.
    """

    width: int = 1152
    narrow: bool = True
    keeps_lines: bool = True

    def line(self, tier: str) -> int:
        return round(self.sizes[tier] * LEADING)

    @property
    def margin(self) -> int:
        return 0

    def space(self, above: Block | None, below: Block | None) -> int:
        line = self.line("body")
        if above and below and above.kind == below.kind and above.kind in ("item", "quote", "row"):
            return self._within(above.kind, below.depth - above.depth)
        ends = line * (1 + (above is None) + (below is None))
        return ends + (self._around(above, after=True) if above else 0) + (self._around(below) if below else 0)

    def _within(self, kind: str, deeper: int) -> int:
        """Space between two blocks of one list, table or quote."""
        line, half = self.line("body"), self._half
        if kind == "row":
            return 4
        if kind == "quote":
            return line + 2 * half
        return deeper * (half + line) if deeper > 0 else line - deeper * (half + 2 * line)

    def _around(self, block: Block, *, after: bool = False) -> int:
        """Space above a block, or below it, to the edge of the outermost element that it stands in."""
        line, half = self.line("body"), self._half
        if block.kind == "item":
            return (block.depth + 1) * (half + line) + after * block.depth * line
        spaces = {"heading": round(self.sizes[block.tier] / 2), "quote": 2 * half + line, "row": 3, "code": 2 * half + 10}
        return spaces.get(block.kind, half)

    @property
    def _half(self) -> int:
        return round(self.sizes["body"] / 2)

    def left(self, block: Block, passage: StyledBlock) -> int:
        indent = {"item": 20 * (block.depth + 1), "quote": 40, "code": 10}.get(block.kind, 0)
        marker = self._px(word_width(passage.words[0]) + BLANK) if passage.marked else 0.0
        return max(0, round(indent - marker))


PROFILES = {"default": _DefaultRung(_SIZES, loose=True), "official": _OfficialRung(_SIZES, loose=True)}


def fixed_size_page(
    markdown: str,
    *,
    profile: str = "default",
    cut: bool = False,
    max_height: int = MAX_HEIGHT,
    uniform_px: float | None = None,
) -> FixedSizePage:
    """The document at natural size, at most `max_height` px high (656 px with `cut`, as published).

    With `uniform_px` (6 to 96) the same text has that size throughout, without headings or emphasis. `FixedSizePage.dropped`
    counts the blocks that the height does not hold, or not whole; lines that are not wholly on the page are not among its
    `lines`. Raises `ConfigError` for a profile that does not exist, `InputError` for another size or height.
    """
    if profile not in PROFILES:
        raise ConfigError(f"no page profile is called `{profile}`; there are: {', '.join(PROFILES)}")
    rung = PROFILES[profile]
    if uniform_px is not None:
        if not MIN_FONT_PX <= uniform_px <= MAX_FONT_PX:
            raise InputError(f"a natural page has type of {MIN_FONT_PX:g} to {MAX_FONT_PX:g} px, not {uniform_px}")
        rung = replace(rung, sizes=dict.fromkeys(TIERS, float(uniform_px)))
    if max_height < 1:
        raise InputError(f"a page is at least 1 px high, not {max_height}")
    blocks = parse(_LINE_END.sub("  \n", markdown) if rung.keeps_lines else markdown)
    blocks = blocks if uniform_px is None else _plain(blocks)
    passages, missing = prepare(blocks)
    stacked = list(_stack(blocks, passages, rung))
    lines = [line for one in stacked for line in one.lines]
    end = stacked[-1].bottom if stacked else 0
    height = min(end + rung.space(blocks[-1] if blocks else None, None), CUT_HEIGHT if cut else MAX_HEIGHT, max_height)
    widest = math.ceil(max((line.box[2] for line in lines), default=0))
    return FixedSizePage(
        min(rung.width, max(rung.least_width, widest)),
        height,
        {tier: rung.sizes[tier] for tier in TIERS if any(passage.tier == tier for passage in passages)},
        sum(one.bottom > height for one in stacked),
        tuple(sorted(missing)),
        lines=tuple(line for line in lines if line.box[3] <= height),
        spans=tuple(span for one in stacked for span in one.spans if span.top < height),
    )


def _plain(blocks: Sequence[Block]) -> list[Block]:
    """The same text without headings and emphasis."""
    kinds = {"heading": "paragraph"}
    return [replace(one, runs=(Run(one.text),), tier="body", kind=kinds.get(one.kind, one.kind)) for one in blocks]


@dataclass(frozen=True)
class _Stacked:
    """A block in its place on the page."""

    lines: tuple[TextLine, ...]
    spans: tuple[Span, ...]
    bottom: int
    """Where its last line ends, in px."""


def _stack(blocks: Sequence[Block], passages: Sequence[StyledBlock], rung: _DefaultRung) -> Iterator[_Stacked]:
    """The blocks one below the other."""
    top = 0
    for (above, block), passage in zip(pairwise([None, *blocks]), passages, strict=True):
        assert block is not None
        space, left = rung.space(above, block), rung.left(block, passage)
        groups = compose([(replace(passage, depth=0), len(passage.words))], rung, 0)
        setting = set_lines(groups, rung, rung.width - left)
        lines, spans = place(setting, rung, rung.width - left, left=left, top=top + space)
        top += space + setting.height
        yield _Stacked(lines, spans, top)


def render_downscaled(
    markdown: str,
    budget: Budget,
    *,
    profile: str = "official",
    cut: bool = False,
    uniform_px: float | None = None,
    engine: Engine | None = None,
) -> Picture:
    """The document on a page of natural size, the picture of it shrunk to the budget (Lanczos, once).

    `Picture.sizes` and `lines` tell the type sizes after shrinking, by area where the sides shrink unequally. A page within
    the budget is not enlarged beyond the 8 tokens (or half the budget) that the published limits ask for. Raises
    `BudgetError` below the reader's floor, and what `fixed_size_page` raises.
    """
    tokens, pricing = tokens_for(budget), budget.reader.pricing  # an impossible budget is refused before any work
    page = fixed_size_page(markdown, profile=profile, cut=cut, uniform_px=uniform_px)
    if isinstance(pricing, PatchPricing):
        target = shrink_to(page.width, page.height, tokens, cell=pricing.cell, floor=pricing.floor)
    else:
        width, height = pricing.largest(tokens)
        scale = min(1.0, width / page.width, height / page.height)
        target = max(1, math.floor(page.width * scale)), max(1, math.floor(page.height * scale))
    return _shrunk(page, target, budget, engine)


def best_uniform(markdown: str, budget: Budget, *, together: int = FACT_WORDS, engine: Engine | None = None) -> Picture:
    """The same text without headings or emphasis in one size, shrunk; the best such picture by the reader's legibility.

    The page has the shape of the budget's largest picture, and 16 px type on the published leading. It is as large as makes
    16 px come down to the size at which most text is read, `together` words at a time (1 counts the characters of single
    words, which favours more and smaller type), and is cut at the bottom, with what is lost counted. A document that is
    short enough for larger type gets it. Raises `BudgetError` below the reader's floor.
    """
    target = budget.reader.pricing.largest(tokens_for(budget))
    legibility = SHRUNK if budget.reader.legibility == OCR else budget.reader.legibility
    plain, missing = prepare(_plain(parse(markdown)))
    rung = _UniformRung(dict.fromkeys(TIERS, BODY), loose=False)
    pages: dict[float, Page] = {}
    worth: dict[float, float] = {}
    for size in (half / 2 for half in range(10, 33)):
        width, height = (round(side * BODY / size) for side in target)  # of the page on which 16 px will shrink to `size`
        pages[size] = fill(plain, rung, width, height)
        characters = sum(len(word) for line in pages[size].lines for word in line.words)
        worth[size] = legibility.share(size) ** together * characters
    best = max(pages, key=lambda size: (worth[size], size))
    return replace(_shrunk(pages[best], target, budget, engine), missing=tuple(sorted(missing)))


class _UniformRung(TypeScale):
    """One size for everything, with the leading that browsers give."""

    def line(self, tier: str) -> int:
        return round(self.sizes[tier] * LEADING)


def _shrunk(page: Page, target: tuple[int, int], budget: Budget, engine: Engine | None) -> Picture:
    """The drawn page, resized to `target`."""
    png = (engine or shared_engine()).draw(page)
    if target != (page.width, page.height):
        from PIL import Image

        buffer = io.BytesIO()
        Image.open(io.BytesIO(png)).convert("RGB").resize(target, Image.Resampling.LANCZOS).save(buffer, "PNG")
        png = buffer.getvalue()
    tokens = budget.reader.image_cost(*target)
    assert tokens <= budget.tokens, f"a page was shrunk to {tokens} tokens for a budget of {budget.tokens}"
    across, down = target[0] / page.width, target[1] / page.height
    return Picture(
        png,
        *target,
        tokens,
        {tier: size * math.sqrt(across * down) for tier, size in page.sizes.items()},
        page.dropped,
        page.missing,
        lines=tuple(scaled(line, across, down) for line in page.lines),
    )


def scaled(line: TextLine, across: float, down: float) -> TextLine:
    """A line of a page that was resized by these factors; its type size by area."""
    left, top, right, bottom = line.box
    box = (left * across, top * down, right * across, bottom * down)
    return replace(line, size=line.size * math.sqrt(across * down), box=box)
