"""Packing: rows of any length become micro-batches of equal work, the same for every process.

TRL wants the same number of micro-batches from every rank. A row is one segment, a micro-batch of one rank a bin. `pack`
deals the rows with pictures, then those without, longest first, in rounds of one row a bin: in each round the longest row goes
to the bin with the fewest tokens so far. So bins differ by at most one row of either kind, and their token sums by about a row.

A bin is computed in parts, one after another: rows with pictures apart from rows without, and within a token budget each, so
that memory is bounded however many segments there are. What a part costs is up to the layout: `padded` to its longest prompt
(left) and its longest completion (right), or `packed` end to end without padding. Collectives must match, those of a vision
tower too, so a micro-batch has equally many parts of either kind on all ranks; a rank that has no row for one gives it a
filler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from memagent.errors import InputError

Rows = tuple[int, ...]
Lengths = Sequence[tuple[int, int]]
Layout = Literal["packed", "padded"]
"""How the rows of a part go through the model: `packed` as one sequence without padding, `padded` side by side."""
FILLER = (1, 2)
"""Prompt and completion tokens of a row that only fills up. Why two: `memagent_training.rows.batch.filler`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """Where every row goes. Rows are indices into the lengths given."""

    parts: tuple[tuple[tuple[Rows, ...], ...], ...]
    """[rank][micro-batch][part]: its rows, () where the rank has none and a filler takes their place. At least one part."""
    pictures: tuple[tuple[bool, ...], ...]
    """[micro-batch][part]: whether its rows are those with pictures, on all ranks."""
    shown: int | None
    """The row whose prompt, pictures and all, fillers of picture parts repeat; None: they show none."""
    fillers: int
    """Parts without a row, on all ranks."""
    tokens: int
    """What all parts take in: padding and fillers count."""
    padded_share: float
    """Share in [0, 1] of `tokens` that are padding or fillers."""
    max_tokens: int
    """Of the largest part."""


def pack(
    lengths: Lengths,
    *,
    world: int = 1,
    micro_batches: int = 1,
    token_budget: int | None = None,
    layout: Layout = "padded",
    vision: Sequence[bool] | None = None,
    tower_everywhere: bool = False,
) -> Packing:
    """Deal rows of (prompt, completion) tokens to `world` ranks x `micro_batches` bins, every row exactly once.

    `token_budget` bounds the tokens that a part takes in; None: all rows of a kind are one part. `vision` says which rows have
    pictures (None: rows are not told apart). `tower_everywhere`: fillers of picture parts show a picture, because the vision
    tower runs on all ranks or on none. Rows of one length that divide evenly keep their order in contiguous chunks, as TRL
    would cut them, unless pictures have to be dealt. Deterministic. Raises `InputError` for counts below 1, negative lengths,
    and a row that alone exceeds the budget: nothing is dropped.
    """
    _check(lengths, world, micro_batches, token_budget, vision)
    seen = [False] * len(lengths) if vision is None else [bool(one) for one in vision]
    seeing = [row for row in range(len(lengths)) if seen[row]]
    shown = min(seeing, key=lambda row: (lengths[row][0], row)) if seeing and tower_everywhere else None
    dealt = _deal(lengths, seen, world, micro_batches)
    cuts = [[_cut(one, lengths, seen, token_budget, layout) for one in rank] for rank in dealt]
    pictures = tuple(_kinds(micro) for micro in zip(*cuts, strict=True))
    parts = [[_aligned(cut, kinds, lengths, layout) for cut, kinds in zip(rank, pictures, strict=True)] for rank in cuts]
    filler = {False: sum(FILLER), True: sum(FILLER) if shown is None else lengths[shown][0] + FILLER[1]}
    costs = [
        part.cost(layout) if part.rows else filler[kind]
        for rank in parts
        for micro, kinds in zip(rank, pictures, strict=True)
        for part, kind in zip(micro, kinds, strict=True)
    ]
    return Packing(
        parts=tuple(tuple(tuple(tuple(part.rows) for part in micro) for micro in rank) for rank in parts),
        pictures=pictures,
        shown=shown,
        fillers=sum(not part.rows for rank in parts for micro in rank for part in micro),
        tokens=sum(costs),
        padded_share=1 - sum(map(sum, lengths)) / max(1, sum(costs)),
        max_tokens=max(costs),
    )


def _deal(lengths: Lengths, seen: Sequence[bool], world: int, micro_batches: int) -> list[list[list[int]]]:
    """[rank][micro-batch]: rows, longest first."""
    count = world * micro_batches
    totals = [prompt + completion for prompt, completion in lengths]
    if len(set(lengths)) <= 1 and len(lengths) % count == 0 and len(set(seen)) <= 1:
        size = len(lengths) // count
        chunks = [list(range(start * size, (start + 1) * size)) for start in range(count)]
        return [chunks[rank * micro_batches : (rank + 1) * micro_batches] for rank in range(world)]
    order = sorted(range(len(lengths)), key=lambda row: (-totals[row], -lengths[row][0], row))
    bins: list[list[int]] = [[] for _ in range(count)]  # by micro-batch, then rank
    sums = [0] * count

    def give(rows: Sequence[int], to: range) -> None:
        for place, row in zip(sorted(to, key=sums.__getitem__), rows, strict=False):  # stable: ties go to the first bin
            bins[place].append(row)
            sums[place] += totals[row]

    seeing, blind = [row for row in order if seen[row]], [row for row in order if not seen[row]]
    reached = min(len(seeing), count)  # where pictures are too few for all bins, the ranks of a micro-batch have them
    for rows, to in ((seeing, range(reached)), (blind, range(count))):
        for start in range(0, len(rows), count):
            give(rows[start : start + count], to)
    return [[bins[micro * world + rank] for micro in range(micro_batches)] for rank in range(world)]


@dataclass(slots=True)
class _Part:
    rows: list[int] = field(default_factory=list)
    prompt: int = 0
    completion: int = 0
    tokens: int = 0

    def add(self, row: int, length: tuple[int, int]) -> None:
        self.rows.append(row)
        self.prompt, self.completion = max(self.prompt, length[0]), max(self.completion, length[1])
        self.tokens += sum(length)

    def cost(self, layout: Layout, *, more: tuple[int, int] | None = None) -> int:
        """Tokens that the part takes in, with a row of the length `more` if given."""
        p, c = more or (0, 0)
        if layout == "packed":
            return self.tokens + p + c
        return (len(self.rows) + (more is not None)) * (max(self.prompt, p) + max(self.completion, c))


def _part(rows: Sequence[int], lengths: Lengths) -> _Part:
    part = _Part()
    for row in rows:
        part.add(row, lengths[row])
    return part


def _cut(
    rows: Sequence[int], lengths: Lengths, seen: Sequence[bool], budget: int | None, layout: Layout
) -> dict[bool, list[_Part]]:
    """The parts of a bin with pictures and those without, in as few as the budget allows.

    Rows come longest first. A padded part takes rows in their order, since a short one among long ones would be padded most.
    """
    parts: dict[bool, list[_Part]] = {True: [], False: []}
    for row in rows:
        there, length = parts[seen[row]], lengths[row]
        usable = there if layout == "packed" else there[-1:]
        part = next((one for one in usable if budget is None or one.cost(layout, more=length) <= budget), None)
        if part is None:
            part = _Part()
            there.append(part)
        part.add(row, length)
    return parts


def _kinds(cuts: Sequence[dict[bool, list[_Part]]]) -> tuple[bool, ...]:
    """Whether each part of a micro-batch is one of pictures, for the most parts that any rank has of a kind."""
    seeing, blind = (max(len(cut[kind]) for cut in cuts) for kind in (True, False))
    return (True,) * seeing + (False,) * (blind or not seeing)


def _aligned(cut: dict[bool, list[_Part]], kinds: Sequence[bool], lengths: Lengths, layout: Layout) -> list[_Part]:
    """The parts of a bin, as many of either kind as `kinds` has."""
    return [
        part for kind in (True, False) for part in _multiplied(cut[kind], kinds.count(kind), lengths=lengths, layout=layout)
    ]


def _multiplied(parts: Sequence[_Part], number: int, *, lengths: Lengths, layout: Layout) -> list[_Part]:
    """`number` parts, by halving the dearest that has two rows, and by empty ones where rows are too few."""
    found = list(parts)
    while len(found) < number:
        divisible = [place for place, part in enumerate(found) if len(part.rows) > 1]
        if not divisible:
            return [*found, *(_Part() for _ in range(number - len(found)))]
        place = max(divisible, key=lambda one: found[one].cost(layout))
        rows, middle = found[place].rows, len(found[place].rows) // 2
        found[place : place + 1] = [_part(rows[:middle], lengths), _part(rows[middle:], lengths)]
    return found


def _check(lengths: Lengths, world: int, micro_batches: int, budget: int | None, vision: Sequence[bool] | None) -> None:
    for name, value in (("world", world), ("micro_batches", micro_batches), ("token_budget", budget)):
        if value is not None and value < 1:
            raise InputError(f"`{name}` is {value}; give at least 1")
    if vision is not None and len(vision) != len(lengths):
        raise InputError(f"`vision` has {len(vision)} entries for {len(lengths)} rows; give one for each")
    for row, (prompt, completion) in enumerate(lengths):
        if prompt < 0 or completion < 0:
            raise InputError(f"row {row} has lengths ({prompt}, {completion}); they may not be negative")
        if budget is not None and prompt + completion > budget:
            raise InputError(
                f"row {row} has {prompt} + {completion} = {prompt + completion} tokens, above the budget of {budget}; raise "
                "`token_budget` or shorten prompts and completions"
            )
