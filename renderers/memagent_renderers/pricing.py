"""What one picture costs each kind of reader, and how large a page may be for a number of visual tokens.

Three rules cover the readers of today. Qwen-VL models round both sides to cells and charge one token a cell
(`PatchPricing`; arXiv 2601.21468). OpenAI's and Anthropic's models shrink a picture into their limits
and charge for every tile that it touches (`TilePricing`). Gemma and Gemini take one fee for a picture of a fixed size
(`FlatPricing`). `READERS` holds the published figures; a server may be set up otherwise, so what it reports is compared
with what was charged (`memagent.models.openai_compatible`).
"""

from __future__ import annotations

import bisect
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from memagent_renderers.errors import BudgetError, InputError

MAX_ASPECT = 200
"""Longer side over shorter side beyond which readers of the Qwen family refuse a picture."""
PAGE_ASPECT = 2
"""Longer side over shorter side up to which a page counts as near square."""


class ImagePricing(Protocol):
    """The price of a picture for one kind of reader. Every rule is a frozen dataclass: it compares and hashes by value."""

    @property
    def step(self) -> int:
        """Sides of a page are multiples of this many px: anything between wastes part of what is paid for."""
        ...

    @property
    def floor(self) -> int:
        """Fewest tokens that any picture costs."""
        ...

    @property
    def ceiling(self) -> int:
        """Most tokens that one page may cost; larger pictures are shrunk by the reader."""
        ...

    def cost(self, width: int, height: int) -> int:
        """Visual tokens of a picture of `width` x `height` px, after whatever the reader does to its size."""
        ...

    def largest(self, tokens: int) -> tuple[int, int]:
        """Width and height in px of the largest near-square page for at most `tokens`; wide before tall.

        The reader takes such a page in unchanged. Raises `BudgetError` below `floor`.
        """
        ...


def smart_resize(width: int, height: int, *, cell: int = 28, min_tokens: int = 4, max_tokens: int = 16384) -> tuple[int, int]:
    """Size (width, height) at which a Qwen-VL reader takes a picture in: multiples of `cell`, within both token limits.

    The published rule with one repair: where its rounding leaves a limit or loses a side, the grid of cells within the
    limits whose shape is nearest is taken; `max_tokens` wins over `min_tokens`. Raises `InputError` for an empty
    picture or one longer than `MAX_ASPECT` : 1.
    """
    if min(width, height) < 1:
        raise InputError(f"a picture needs sides of at least 1 px, not {width} x {height}")
    if max(width, height) / min(width, height) > MAX_ASPECT:
        raise InputError(f"a picture may be at most {MAX_ASPECT} times as long as wide, not {width} x {height}")
    columns, rows = max(1, round(width / cell)), max(1, round(height / cell))
    if columns * rows > max_tokens:
        scale = math.sqrt(width * height / (max_tokens * cell * cell))
        columns, rows = math.floor(width / scale / cell), math.floor(height / scale / cell)
    elif columns * rows < min_tokens:
        scale = math.sqrt(min_tokens * cell * cell / (width * height))
        columns, rows = math.ceil(width * scale / cell), math.ceil(height * scale / cell)
    least = min(min_tokens, max_tokens)
    if not least <= columns * rows <= max_tokens:
        long, short = _grid_like(max(width, height) / min(width, height), least, max_tokens)
        columns, rows = (long, short) if width >= height else (short, long)
    return columns * cell, rows * cell


def shrink_to(width: int, height: int, tokens: int, *, cell: int = 28, floor: int = 1) -> tuple[int, int]:
    """Size to which a finished page is scaled for `tokens`; small pages grow to min(8, tokens // 2) tokens only.

    They also grow to the `floor` of the reader, who would enlarge them himself otherwise, perhaps beyond `tokens`.
    Raises `BudgetError` for `tokens` below `floor` and `InputError` as `smart_resize`.
    """
    if tokens < floor:
        raise BudgetError(f"every picture costs at least {floor} visual tokens; the budget is {tokens}")
    least = max(floor, min(8, max(1, tokens // 2)))
    return smart_resize(width, height, cell=cell, min_tokens=least, max_tokens=tokens)


def _grid_like(aspect: float, least: int, most: int) -> tuple[int, int]:
    """The longer and shorter side, in cells, of the grid of `least` to `most` cells nearest to `aspect` (1 or more)."""
    grids = []
    for short in range(1, math.isqrt(most) + 1):
        shortest_long, longest = max(short, math.ceil(least / short)), most // short
        if shortest_long <= longest:
            grids.append((min(max(round(short * aspect), shortest_long), longest), short))
    return min(grids, key=lambda grid: (abs(math.log(grid[0] / grid[1] / aspect)), -grid[0] * grid[1]))


def _near_square(tiles: int, *, part: int = 1, longest: int | None = None, shortest: int | None = None) -> tuple[int, int]:
    """Columns and rows of the largest near-square page that touches at most `tiles` tiles, each `part` steps a side.

    `longest` and `shortest` limit the two sides, in steps.
    """
    best = (1, 1)
    for rows in range(1, (shortest or part * tiles) + 1):
        columns = min(PAGE_ASPECT * rows, tiles // math.ceil(rows / part) * part, longest or part * tiles)
        if columns < rows:
            break
        if columns * rows >= best[0] * best[1]:
            best = (columns, rows)
    return best


def _afford(tokens: int, floor: int) -> None:
    if tokens < floor:
        raise BudgetError(
            f"every picture costs this reader at least {floor} visual tokens, not {tokens}. Give {floor} or more."
        )


@dataclass(frozen=True)
class PatchPricing:
    """One token for each `cell` x `cell` px of a picture whose sides were rounded to cells (the Qwen-VL family).

    A cell is one patch times the merge of patches: 14 x 2 px for Qwen2-VL and Qwen2.5-VL, 16 x 2 px for Qwen3-VL.
    """

    cell: int = 28
    """Side of the square that costs one token, in px."""
    floor: int = 4
    """Fewest tokens: smaller pictures are enlarged by the reader."""
    ceiling: int = 16384
    """Most tokens: larger pictures are shrunk by the reader."""

    @property
    def step(self) -> int:
        """A page is made of whole cells."""
        return self.cell

    def cost(self, width: int, height: int) -> int:
        """Tokens by `smart_resize`. Raises `InputError` for a picture that such readers refuse (over 200 : 1)."""
        wide, high = smart_resize(width, height, cell=self.cell, min_tokens=self.floor, max_tokens=self.ceiling)
        return (wide // self.cell) * (high // self.cell)

    def largest(self, tokens: int) -> tuple[int, int]:
        """As `ImagePricing.largest`; longer than 2 : 1 only where `floor` rules out every near-square page."""
        _afford(tokens, self.floor)
        tokens = min(tokens, self.ceiling)
        columns, rows = _near_square(tokens)
        if columns * rows < self.floor:
            columns, rows = _grid_like(1.0, self.floor, tokens)
        return columns * self.cell, rows * self.cell


@dataclass(frozen=True)
class TilePricing:
    """`base` tokens and `per_tile` for every `tile` x `tile` px square that a picture touches, after it was shrunk.

    The reader shrinks, keeping the shape, until the picture is within `longest`, `shortest` and `most`; it enlarges
    nothing. A fraction of a token is charged as a whole one.
    """

    tile: int
    """Side of a tile in px."""
    most: int
    """Most tiles of one picture."""
    longest: int
    """Most px of the longer side."""
    shortest: int
    """Most px of the shorter side."""
    per_tile: int | Fraction = 1
    """Tokens for one tile."""
    base: int = 0
    """Tokens for any picture, besides its tiles."""

    @property
    def step(self) -> int:
        """The largest length of which a tile and the limits of both sides are multiples."""
        return math.gcd(self.tile, self.longest, self.shortest)

    @property
    def floor(self) -> int:
        """The price of one tile."""
        return self._price(1)

    @property
    def ceiling(self) -> int:
        """The price of `most` tiles."""
        return self._price(self.most)

    def cost(self, width: int, height: int) -> int:
        """Tokens for the tiles of the largest size of this shape within the limits. Raises `InputError` when empty."""
        if min(width, height) < 1:
            raise InputError(f"a picture needs sides of at least 1 px, not {width} x {height}")
        long, short = max(width, height), min(width, height)

        def too_large(side: int) -> bool:
            other = Fraction(short * side, long)
            return side > self.longest or other > self.shortest or self._tiles(side, other) > self.most

        side = max(1, bisect.bisect_left(range(1, long + 1), True, key=too_large))
        return self._price(self._tiles(side, Fraction(short * side, long)))

    def largest(self, tokens: int) -> tuple[int, int]:
        """As `ImagePricing.largest`."""
        _afford(tokens, self.floor)
        tiles = min(int((tokens - self.base) // self.per_tile), self.most)
        step = self.step
        limits = {"longest": self.longest // step, "shortest": self.shortest // step}
        columns, rows = _near_square(tiles, part=self.tile // step, **limits)
        return columns * step, rows * step

    def _tiles(self, long: int, short: Fraction) -> int:
        return math.ceil(long / self.tile) * math.ceil(max(1, round(short)) / self.tile)

    def _price(self, tiles: int) -> int:
        return self.base + math.ceil(self.per_tile * tiles)


@dataclass(frozen=True)
class FlatPricing:
    """One `fee` for a picture of `side` x `side` px."""

    fee: int
    """Tokens for one picture."""
    side: int
    """Side in px of the page that makes the most of the fee."""
    cropped: bool = False
    """Larger pictures are cut into crops at one fee each (Gemini); else any picture is resized to `side` (Gemma)."""

    @property
    def step(self) -> int:
        """A page is as large as the fee allows."""
        return self.side

    @property
    def floor(self) -> int:
        """The fee."""
        return self.fee

    @property
    def ceiling(self) -> int:
        """The fee: no page is made of crops, whose number is published as an approximation only."""
        return self.fee

    def cost(self, width: int, height: int) -> int:
        """The fee, or the fee for each crop. Raises `InputError` for an empty picture."""
        if min(width, height) < 1:
            raise InputError(f"a picture needs sides of at least 1 px, not {width} x {height}")
        if not self.cropped or max(width, height) <= self.side:
            return self.fee
        unit = max(1, math.floor(min(width, height) / 1.5))
        return self.fee * math.ceil(width / unit) * math.ceil(height / unit)

    def largest(self, tokens: int) -> tuple[int, int]:
        """`side` x `side`. Raises `BudgetError` below the fee."""
        _afford(tokens, self.fee)
        return self.side, self.side


def _openai_tiles(base: int, per_tile: int) -> TilePricing:
    return TilePricing(tile=512, most=8, longest=2048, shortest=768, per_tile=per_tile, base=base)


def _openai_patches(per_patch: str) -> TilePricing:
    return TilePricing(tile=32, most=1536, longest=32 * 1536, shortest=32 * 1536, per_tile=Fraction(per_patch))


READERS: dict[str, ImagePricing] = {
    "qwen2-vl": PatchPricing(cell=28, floor=4, ceiling=16384),
    "qwen2.5-vl": PatchPricing(cell=28, floor=4, ceiling=16384),
    "qwen3-vl": PatchPricing(cell=32, floor=64, ceiling=16384),
    "gpt-4o": _openai_tiles(85, 170),
    "gpt-4o-mini": _openai_tiles(2833, 5667),
    "gpt-4.1": _openai_tiles(85, 170),
    "gpt-4.1-mini": _openai_patches("1.62"),
    "gpt-4.1-nano": _openai_patches("2.46"),
    "gpt-5": _openai_tiles(70, 140),
    "o1": _openai_tiles(75, 150),
    "o3": _openai_tiles(75, 150),
    "o4-mini": _openai_patches("1.72"),
    "claude": TilePricing(tile=28, most=1568, longest=1568, shortest=1568),
    "claude-opus-4.7": TilePricing(tile=28, most=4784, longest=2576, shortest=2576),
    "gemma-3": FlatPricing(fee=256, side=896),
    "gemini-2": FlatPricing(fee=258, side=384, cropped=True),
}
"""Published prices, as their models are served by default.

- Qwen: the limits in the models' own `preprocessor_config.json`: 3,136 to 12,845,056 px (4 to 16,384 cells of 28 px);
  for Qwen3-VL 65,536 to 16,777,216 px (64 to 16,384 cells of 32 px). Run locally, a model takes the limits that
  `memagent_renderers.processor_limits` gives instead.
- OpenAI, platform.openai.com/docs/guides/images-vision, "Calculating costs", at `detail: high`: shrunk to within
  2,048 px and then to a shorter side of 768 px, tiles of 512 px; or patches of 32 px, 1,536 at most, times a factor.
- Anthropic, platform.claude.com/docs/en/build-with-claude/vision: cells of 28 px, those at the edge padded; Opus 4.7
  and 4.8 read at high resolution. It replaces the older estimate of width x height / 750.
- Gemma 3, ai.google.dev/gemma/docs/capabilities/vision, without pan and scan. Gemini 2,
  ai.google.dev/gemini-api/docs/image-understanding: 258 tokens up to 384 px, then for each crop, whose side is about
  the shorter side / 1.5.
"""

_NAMES = (
    (r"qwen-?3(-\d)?-?(vl|omni|vision)|qwen-?3-?5", "qwen3-vl"),
    (r"qwen-?2-?5-?(vl|omni)", "qwen2.5-vl"),
    (r"qwen-?2-?vl", "qwen2-vl"),
    (r"gpt-4o-mini", "gpt-4o-mini"),
    (r"gpt-4o", "gpt-4o"),
    (r"gpt-4-1-mini", "gpt-4.1-mini"),
    (r"gpt-4-1-nano", "gpt-4.1-nano"),
    (r"gpt-4-1", "gpt-4.1"),
    (r"gpt-5(-chat-latest|-20\d\d.*)?$", "gpt-5"),  # its small versions and successors are charged otherwise
    (r"\bo1(-pro)?(-20\d\d.*)?$", "o1"),
    (r"\bo3(-20\d\d.*)?$", "o3"),
    (r"\bo4-mini", "o4-mini"),
    (r"claude-opus-4-[78]", "claude-opus-4.7"),
    (r"claude", "claude"),
    (r"gemma-?3(?!n)", "gemma-3"),
    (r"gemini-2", "gemini-2"),
)


def pricing_for(model: str) -> ImagePricing:
    """The price of a picture for `model`, told from a name or type such as `Qwen/Qwen3-VL-4B`, `gpt-4o` or `qwen2_5_vl`.

    A model that `READERS` does not know is charged as Qwen2.5-VL.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", model.lower())
    found = (name for pattern, name in _NAMES if re.search(pattern, plain))
    return READERS[next(found, "qwen2.5-vl")]
