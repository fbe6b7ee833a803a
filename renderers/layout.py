"""Lays a document out for a budget: picks page shape and type sizes so that as much as possible can be read.

The document is not shrunk to the budget, it is set for it. Type sizes form a ladder from comfortable (16 px body) down
to the smallest size that the reader can read. The first rung on which everything fits wins, on the smallest
near-square page that holds it, so that a short memory costs less than its budget. When even the last rung cannot hold
the document, words are placed by importance (tier, then order of writing) until the page is full, and the page ends
with a count of the blocks that are not on it, or not whole ("+3 more").

All line breaks are decided here, from advance widths, and written into the HTML as preformatted lines of a fixed
height. An engine has nothing left to decide: what was predicted is what is drawn, by every engine alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from renderers import fonts
from renderers.budget import PAGE_ASPECT, max_grid, tokens_for
from renderers.passages import HEAVY_TIERS, Passage, Word, line_html, plain_word, prepare, split_long, word_width
from renderers.reader import Budget, estimate_tokens
from renderers.richtext import TIERS, parse
from renderers.themes import stylesheet

LADDER = (16.0, 14.0, 12.0, 11.0, 10.0, 9.0)
"""Body sizes in px that are tried before the reader's smallest legible size."""
LOOSE_FROM = 11.0
"""From this body size on each block starts a line of its own; below, blocks of one tier run on to save line ends."""
FLAT_UP_TO = 32
"""Up to this many tokens an overfull page is set in one size: larger headings would cost too much of it."""
COMPACT_SHARE = 0.8
"""Share of the characters of a flat page that a page with larger headings must carry to be preferred."""
WHOLE_WORD = 20
"""Words of up to this many characters are never cut while a smaller size is left to try."""

HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_SCALE = {"h1": 2.0, "h2": 1.5, "h3": 1.17, "bold": 1.0, "h4": 1.0, "body": 1.0, "h5": 0.9, "h6": 0.85, "small": 0.85}
_SPACE = max(fonts.face("regular").advances[" "], fonts.face("bold").advances[" "])


@dataclass(frozen=True)
class Rung:
    """One set of type sizes."""

    sizes: dict[str, float]
    """Type size in px of each tier."""
    loose: bool
    flat: bool = False

    def line(self, tier: str) -> int:
        """Height in px of a line of this tier."""
        size = self.sizes[tier]
        return math.ceil(size * (1.25 if size >= 12 else 1.1 if size >= 10 and self.loose else 1.0))

    @property
    def gap(self) -> int:
        """Space in px between blocks."""
        return round(self.sizes["body"] / 3) if self.loose else 0

    @property
    def margin(self) -> int:
        """Space in px around the page."""
        return round(self.sizes["body"] / 4) if self.loose else 1


@dataclass(frozen=True)
class Page:
    """A laid-out page, not yet drawn."""

    html: str
    width: int
    height: int
    sizes: dict[str, float]
    """Type size in px of each tier that is on the page."""
    dropped: int = 0
    """Blocks that are not on the page, or not whole."""
    missing: tuple[str, ...] = ()
    """Characters of the document that the bundled faces cannot draw; the page shows "�" for each run of them."""
    lines: tuple[str, ...] = ()
    """The text of each line, top to bottom, as placed."""


@dataclass
class _Group:
    """Words that run on in one type size."""

    tier: str
    depth: int = 0
    words: list[Word] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    tiers: set[str] = field(default_factory=set)
    """Tiers of the passages in it: more than one on a flat page."""


@dataclass
class _Setting:
    """Groups broken into lines for one page width."""

    groups: list[tuple[_Group, list[list[Word]]]]
    height: int
    """Height in px of lines and gaps, margins included."""
    shortest_cut: int
    """Characters of the shortest word that had to be cut; 0 when none was."""


def fit(markdown: str, budget: Budget) -> Page:
    """The page that shows most of `markdown` within `budget`. Same input, same page, on every machine.

    The last few pages are kept: who draws a page also asks what stands on it.

    Raises `BudgetError` when the budget is below what the reader charges for any picture.
    """
    # how the reader counts text plays no part, and would keep its model alive here
    return _fit(markdown, replace(budget, reader=replace(budget.reader, count=estimate_tokens)))


@lru_cache(maxsize=4)
def _fit(markdown: str, budget: Budget) -> Page:
    tokens = tokens_for(budget)
    passages, missing = prepare(parse(markdown))
    page: Page | None = None
    for rung in ladder(budget.reader.smallest_legible_px):
        page = _fit_whole(passages, rung, tokens, budget)
        if page:
            break
    if page is None:
        page = _fill(passages, tokens, budget)
    return Page(page.html, page.width, page.height, page.sizes, page.dropped, tuple(sorted(missing)), page.lines)


@lru_cache(maxsize=64)
def ladder(least: float) -> tuple[Rung, ...]:
    """Type sizes to try, the largest first; nothing on them is smaller than `least` px."""
    steps = [_graded(body, least) for body in LADDER if body > least]
    return (*steps, _compact(least), _flat(least))


def _graded(body: float, least: float) -> Rung:
    """Sizes around a body size; the difference between tiers shrinks as the body does."""
    contrast = min(1.0, (body - least) / max(1.0, 16.0 - least))
    sizes = {}
    for tier in TIERS:
        factor = 1 + (_SCALE[tier] - 1) * (contrast if _SCALE[tier] > 1 else 1.0)
        sizes[tier] = max(least, round(2 * body * factor) / 2)
    return Rung(sizes, loose=body >= LOOSE_FROM)


def _compact(least: float) -> Rung:
    larger = {"h1": 2.0, "h2": 1.0, "h3": 1.0}
    return Rung({tier: least + larger.get(tier, 0.0) for tier in TIERS}, loose=False)


def _flat(least: float) -> Rung:
    return Rung(dict.fromkeys(TIERS, least), loose=False, flat=True)


def _fill(passages: Sequence[Passage], tokens: int, budget: Budget) -> Page:
    """An overfull page: slightly larger headings where room allows it and they do not cost too much of the text."""
    pricing, least = budget.reader.pricing, budget.reader.smallest_legible_px
    columns, rows = max_grid(tokens, pricing)
    flat = _fit_part(passages, _flat(least), columns * pricing.cell, rows * pricing.cell)
    if tokens <= FLAT_UP_TO:
        return flat
    compact = _fit_part(passages, _compact(least), columns * pricing.cell, rows * pricing.cell)
    return compact if _shown(compact) >= COMPACT_SHARE * _shown(flat) else flat


def _shown(page: Page) -> int:
    return sum(map(len, page.lines))


def _fit_whole(passages: Sequence[Passage], rung: Rung, tokens: int, budget: Budget) -> Page | None:
    """The smallest near-square page that holds everything at these sizes; None when none within the budget does."""
    cell, floor = budget.reader.pricing.cell, budget.reader.pricing.floor
    needed = math.ceil(_least_area(passages, rung) / (cell * cell))
    if needed > tokens:
        return None
    groups = _compose([(passage, len(passage.words)) for passage in passages], rung, 0)
    best: tuple[float, int, int, _Setting] | None = None
    middle = math.ceil(math.sqrt(1.1 * max(needed, floor)))
    last = rung.flat
    for columns in sorted({max(1, middle - 1), middle, middle + 1, max_grid(tokens, budget.reader.pricing)[0]}):
        setting = _set(groups, rung, columns * cell)
        rows = max(math.ceil(setting.height / cell), math.ceil(floor / columns))
        skew = max(columns, rows) / min(columns, rows)
        cut = 0 < setting.shortest_cut <= WHOLE_WORD
        if columns * rows > tokens or (cut and not last) or (skew > PAGE_ASPECT and columns * rows > 8):
            continue
        price = columns * rows * (0.9 + 0.1 * skew)  # a slightly dearer page may win when it is closer to a square
        if best is None or price < best[0]:
            best = (price, columns, rows, setting)
    return _page(best[3], rung, best[1] * cell, best[2] * cell, 0) if best else None


def _fit_part(passages: Sequence[Passage], rung: Rung, width: int, height: int) -> Page:
    """The most important words that fill the page, and the count of blocks that are not whole on it."""
    limits = {tier: _limit(rung, tier, width, 0) for tier in TIERS}
    cut = [_cut_passage(passage, limits[passage.tier]) for passage in passages]
    order = sorted(range(len(cut)), key=lambda index: (cut[index].rank, index))

    def setting(count: int) -> tuple[_Setting, int]:
        shown, left = {}, count
        for index in order:
            shown[index] = min(left, len(cut[index].words))
            left -= shown[index]
        pairs = [(passage, shown[index]) for index, passage in enumerate(cut)]
        dropped = sum(number < len(passage.words) for passage, number in pairs)
        return _set(_compose(pairs, rung, dropped), rung, width), dropped

    most = _area_bound([cut[index] for index in order], rung, width * height)
    count = _largest(lambda number: setting(number)[0].height <= height, most)
    best, dropped = setting(count)
    return _page(best, rung, width, height, dropped)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest count from 0 to `most` that fits, for a condition that once false stays so (0 is taken on trust)."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _cut_passage(passage: Passage, limit: float) -> Passage:
    words, widths, _ = split_long(passage.words, passage.widths, limit)
    return Passage(passage.tier, words, widths, passage.depth, passage.marked)


def _least_area(passages: Sequence[Passage], rung: Rung) -> float:
    """Area in px that the words themselves take, blanks and line ends left out: a lower bound."""
    units = fonts.face("regular").units
    return sum(sum(p.widths) * rung.sizes[p.tier] / units * rung.line(p.tier) for p in passages)


def _area_bound(ordered: Sequence[Passage], rung: Rung, area: float) -> int:
    """How many words, in the order given, could at most stand on a page of `area` px."""
    units = fonts.face("regular").units
    count = 0
    for passage in ordered:
        scale = rung.sizes[passage.tier] / units * rung.line(passage.tier)
        for width in passage.widths:
            area -= width * scale
            if area < 0:
                return count
            count += 1
    return count


def _compose(shown: Sequence[tuple[Passage, int]], rung: Rung, dropped: int) -> list[_Group]:
    """Groups of words in document order; each passage with the number of its words that are shown."""
    groups: list[_Group] = []
    closed, heading = True, False
    for passage, count in shown:
        if not count:
            continue
        joins = bool(groups) and not rung.loose and (rung.flat or groups[-1].tier == passage.tier)
        if not joins:
            groups.append(_Group(passage.tier, passage.depth if rung.loose else 0))
        elif not closed and not passage.marked:
            _close(groups[-1], ":" if heading else ";")
        words, widths = passage.words[:count], passage.widths[:count]
        if not rung.loose and not all(words):
            words, widths = [word for word in words if word], [width for width in widths if width]
        groups[-1].words += words
        groups[-1].widths += widths
        groups[-1].tiers.add(passage.tier)
        closed = passage.closed or count < len(passage.words)
        heading = passage.tier in HEADINGS
        if count < len(passage.words):
            _add(groups[-1], [plain_word("…")])
    if dropped:
        _append_count(groups, rung, dropped)
    return groups


def _close(group: _Group, mark: str) -> None:
    """Sets a mark after the last word, so that what runs on is not taken for the same sentence.

    It touches the word: a mark that stands alone is often read into its neighbour by OCR.
    """
    word = group.words[-1]
    group.words[-1] = (*word, (mark, word[-1][1]))
    group.widths[-1] = word_width(group.words[-1])


def _append_count(groups: list[_Group], rung: Rung, dropped: int) -> None:
    if not groups or rung.loose or not (rung.flat or groups[-1].tier not in HEAVY_TIERS):
        groups.append(_Group("small"))
    _add(groups[-1], [plain_word(f"+{dropped}"), plain_word("more")])


def _add(group: _Group, words: list[Word]) -> None:
    group.words += words
    group.widths += [word_width(word) for word in words]


def _limit(rung: Rung, tier: str, width: int, depth: int) -> float:
    """Widest line in font units for a page of `width` px."""
    inside = width - 2 * rung.margin - _indent(rung, depth)
    return max(1.0, inside) * fonts.face("regular").units / rung.sizes[tier]


def _indent(rung: Rung, depth: int) -> int:
    return round(min(depth, 6) * rung.sizes["body"]) if rung.loose else 0


def _set(groups: Sequence[_Group], rung: Rung, width: int) -> _Setting:
    """Breaks every group into lines for a page of `width` px."""
    out: list[tuple[_Group, list[list[Word]]]] = []
    height = 2 * rung.margin + rung.gap * max(0, len(groups) - 1)
    shortest = 0
    for group in groups:
        limit = _limit(rung, group.tier, width, group.depth)
        words, widths = group.words, group.widths
        if max(widths, default=0) > limit:
            words, widths, cut = split_long(words, widths, limit)
            shortest = min(shortest or cut, cut)
        lines = _break(words, widths, limit)
        height += len(lines) * rung.line(group.tier)
        out.append((group, lines))
    return _Setting(out, height, shortest)


def _break(words: Sequence[Word], widths: Sequence[int], limit: float) -> list[list[Word]]:
    """Greedy lines of at most `limit` font units; an empty word ends a line."""
    starts: list[tuple[int, int]] = []
    first, used = 0, -_SPACE
    for index, width in enumerate(widths):
        if not width and not words[index]:
            starts.append((first, index))
            first, used = index + 1, -_SPACE
        elif used + _SPACE + width > limit and index > first:
            starts.append((first, index))
            first, used = index, width
        else:
            used += _SPACE + width
    starts.append((first, len(words)))
    return [list(words[begin:end]) for begin, end in starts]


def _page(setting: _Setting, rung: Rung, width: int, height: int, dropped: int) -> Page:
    """The HTML of a page and what stands on it."""
    blocks: list[str] = []
    text: list[str] = []
    for index, (group, lines) in enumerate(setting.groups):
        size, line = rung.sizes[group.tier], rung.line(group.tier)
        rules = f"font-size:{size:g}px;line-height:{line}px;height:{line * len(lines)}px"
        rules += f";margin-top:{rung.gap}px" if index and rung.gap else ""
        rules += f";margin-left:{_indent(rung, group.depth)}px" if group.depth else ""
        blocks.append(f'<div class="block" style="{rules}">' + "\n".join(map(line_html, lines)) + "</div>")
        text += [" ".join("".join(piece for piece, _ in word) for word in line) for line in lines]
    tiers = {tier for group, _ in setting.groups for tier in group.tiers}
    sizes = {tier: rung.sizes[tier] for tier in TIERS if tier in tiers}
    html = _document("".join(blocks), width, height, rung.margin)
    return Page(html, width, height, sizes, dropped, (), tuple(text))


def _document(body: str, width: int, height: int, margin: int) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{stylesheet()}</style></head><body>'
        f'<div class="page" style="width:{width}px;height:{height}px;padding:{margin}px">{body}</div></body></html>'
    )
