"""Packing: rows of any length become micro-batches of equal work, the same for every process.

TRL wants the same number of rows from every rank, cut into `micro_batches` equal chunks; rows too many are dropped
without a word. A row is one segment, a chunk a bin; a bin is padded to its longest prompt (left)
and its longest completion (right). `pack` deals the rows, longest first, in rounds of one row a bin: in each round the
longest row goes to the bin with the fewest tokens so far. So bins differ by at most one row, which a padding row (-1)
fills up, and their token sums differ by no more than the rows of one round do.

More segments mean larger bins and so more memory: a bin whose padded tokens exceed the budget is cut into
consecutive parts, to be computed one after another. Collectives must match, so the same bin has equally many parts on
all ranks. Vision towers have collectives of their own: rows with pictures are dealt first, one a bin as far as
they reach, and parts that go without are listed in `Packing.blind`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memagent.errors import InputError

PADDING = -1
"""The row index of a padding row: no tokens, no loss."""

Rows = tuple[int, ...]
Lengths = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """Where every row goes. Rows are indices into the lengths given; -1 is a padding row, last in its bin."""

    bins: tuple[tuple[Rows, ...], ...]
    """[rank][micro-batch]: its rows; all bins have the same number, 0 only when there were no rows."""
    parts: tuple[tuple[tuple[Rows, ...], ...], ...]
    """[rank][micro-batch]: the bin cut into consecutive parts within the budget; all ranks have the same number."""
    blind: tuple[tuple[int, int, int], ...]
    """(rank, micro-batch, part) of parts without a picture, when any row has one; otherwise empty."""
    padded_share: float
    """Share in [0, 1] of the token places of all parts that hold no token."""
    max_tokens: int
    """Padded tokens of the largest part: rows x (longest prompt + longest completion)."""

    @property
    def rows_per_bin(self) -> int:
        """Rows of every bin, padding included."""
        return len(self.bins[0][0])


def pack(
    lengths: Lengths,
    *,
    world: int = 1,
    micro_batches: int = 1,
    token_budget: int | None = None,
    vision: Sequence[bool] | None = None,
) -> Packing:
    """Deal rows of (prompt, completion) tokens to `world` ranks x `micro_batches` bins, every row exactly once.

    `token_budget` bounds the padded tokens of a part; None: a bin is one part. `vision` says which rows have pictures.
    Rows of one length that divide evenly keep their order in contiguous chunks, as TRL would cut them, unless pictures
    have to be dealt. Deterministic. Raises `InputError` for counts below 1, negative lengths, and a row that alone
    exceeds the budget: nothing is dropped.
    """
    _check(lengths, world, micro_batches, token_budget, vision)
    seen = [False] * len(lengths) if vision is None else [bool(one) for one in vision]
    count = world * micro_batches
    in_order = len(set(lengths)) <= 1 and len(lengths) % count == 0 and len(set(seen)) <= 1
    if in_order:  # contiguous chunks, ranks first and micro-batches within; listed by micro-batch, then rank
        size = len(lengths) // count
        starts = [(rank * micro_batches + micro) * size for micro in range(micro_batches) for rank in range(world)]
        dealt = [tuple(range(start, start + size)) for start in starts]
    else:
        dealt = _deal(lengths, seen, count)
    bins = tuple(tuple(dealt[micro * world + rank] for micro in range(micro_batches)) for rank in range(world))
    parts = _cut(bins, lengths, token_budget)
    costs = [_cost(part, lengths) for rank in parts for micro in rank for part in micro]
    places = sum(costs)
    return Packing(
        bins=bins,
        parts=parts,
        blind=_blind(parts, seen) if any(seen) else (),
        padded_share=1 - sum(p + c for p, c in lengths) / places if places else 0.0,
        max_tokens=max(costs, default=0),
    )


def _deal(lengths: Lengths, seen: Sequence[bool], count: int) -> list[Rows]:
    """`count` bins of equally many rows, longest first in each, padding last; bins are by micro-batch, then rank."""
    totals = [prompt + completion for prompt, completion in lengths]
    order = sorted(range(len(lengths)), key=lambda row: (-totals[row], -lengths[row][0], row))
    with_pictures = [row for row in order if seen[row]][:count]
    chosen = set(with_pictures)
    order = with_pictures + [row for row in order if row not in chosen]
    bins: list[list[int]] = [[] for _ in range(count)]
    sums = [0] * count
    for start in range(0, len(order), count):
        lightest = sorted(range(count), key=sums.__getitem__)  # stable: ties go to the first bin
        for place, row in zip(lightest, order[start : start + count], strict=False):
            bins[place].append(row)
            sums[place] += totals[row]
    rows = -(-len(order) // count)
    return [
        tuple(sorted(one, key=lambda row: (-totals[row], -lengths[row][0], row))) + (PADDING,) * (rows - len(one))
        for one in bins
    ]


def _cost(rows: Sequence[int], lengths: Lengths) -> int:
    """Padded tokens of `rows` computed together, padding rows included."""
    real = [lengths[row] for row in rows if row != PADDING]
    return len(rows) * (max((p for p, _ in real), default=0) + max((c for _, c in real), default=0))


def _cut(bins: tuple[tuple[Rows, ...], ...], lengths: Lengths, budget: int | None) -> tuple[tuple[tuple[Rows, ...], ...], ...]:
    """Every bin in as few consecutive parts as fit the budget, then in as many as the same bin has on other ranks."""
    cut = [[_within(one, lengths, budget) for one in rank] for rank in bins]
    wanted = [max(len(rank[micro]) for rank in cut) for micro in range(len(cut[0]))]
    return tuple(tuple(_split(one, number, lengths) for one, number in zip(rank, wanted, strict=True)) for rank in cut)


def _within(rows: Rows, lengths: Lengths, budget: int | None) -> list[Rows]:
    """Greedy from the front, which gives the fewest parts: a part only grows dearer by a row."""
    if budget is None:
        return [rows]
    parts: list[Rows] = []
    start, prompt, completion = 0, 0, 0
    for place, row in enumerate(rows):
        p, c = (0, 0) if row == PADDING else lengths[row]
        if (place - start + 1) * (max(prompt, p) + max(completion, c)) > budget:
            parts.append(rows[start:place])
            start, prompt, completion = place, 0, 0
        prompt, completion = max(prompt, p), max(completion, c)
    return [*parts, rows[start:]]


def _split(parts: list[Rows], number: int, lengths: Lengths) -> tuple[Rows, ...]:
    """`number` parts, by halving the dearest that has two rows; equal bins always have rows enough."""
    parts = list(parts)
    while len(parts) < number:
        place = max((i for i, part in enumerate(parts) if len(part) > 1), key=lambda i: _cost(parts[i], lengths))
        part = parts[place]
        parts[place : place + 1] = [part[: len(part) // 2], part[len(part) // 2 :]]
    return tuple(parts)


def _blind(parts: tuple[tuple[tuple[Rows, ...], ...], ...], seen: Sequence[bool]) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (rank, micro, number)
        for rank, bins in enumerate(parts)
        for micro, one in enumerate(bins)
        for number, rows in enumerate(one)
        if not any(row != PADDING and seen[row] for row in rows)
    )


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
