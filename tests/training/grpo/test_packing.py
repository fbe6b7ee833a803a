from __future__ import annotations

import random
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.grpo.packing import FILLER, Layout, Packing, pack

LENGTHS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=60)
LAYOUTS: tuple[Layout, ...] = ("padded", "packed")


def rows_of(packing: Packing) -> list[list[list[int]]]:
    """[rank][micro-batch]: rows of all parts."""
    return [[[row for part in micro for row in part] for micro in rank] for rank in packing.parts]


def costs(packing: Packing, lengths: list[tuple[int, int]], layout: Layout) -> list[int]:
    """Tokens that each part takes in, by another count than the module's: place by place."""
    found = []
    for rank in packing.parts:
        for parts, kinds in zip(rank, packing.pictures, strict=True):
            for part, kind in zip(parts, kinds, strict=True):
                shown = lengths[packing.shown] if kind and packing.shown is not None else FILLER
                rows = [lengths[row] for row in part] or [(shown[0], FILLER[1])]
                wide = max(p for p, _ in rows) + max(c for _, c in rows)
                found.append(sum(p + c if layout == "packed" else wide for p, c in rows))
    return found


def test_four_rows_on_two_ranks_by_hand() -> None:
    packing = pack([(6, 4), (1, 1), (5, 3), (2, 2)], world=2)

    assert packing.parts == ((((0, 1),),), (((2, 3),),))  # 10 and 8, then the shorter of 4 and 2 to the heavier bin
    assert packing.pictures == ((False,),)
    assert packing.tokens == 2 * 10 + 2 * 8
    assert packing.max_tokens == 2 * (6 + 4)
    assert packing.padded_share == pytest.approx(1 - 24 / 36)
    packed = pack([(6, 4), (1, 1), (5, 3), (2, 2)], world=2, layout="packed")
    assert packed.parts == packing.parts
    assert (packed.tokens, packed.max_tokens, packed.padded_share) == (24, 12, 0)


def test_a_rank_without_a_row_is_given_a_filler() -> None:
    packing = pack([(1, 1), (1, 2), (9, 9)], world=2, micro_batches=2)

    assert packing.parts == ((((2,),), ((0,),)), (((1,),), ((),)))
    assert (packing.fillers, packing.tokens) == (1, 18 + 3 + 2 + sum(FILLER))


def test_a_bin_over_the_budget_is_cut_and_other_ranks_follow() -> None:
    packing = pack([(10, 0), (10, 0), (3, 0), (3, 0)], world=2, token_budget=10)

    assert packing.parts == ((((0,), (2,)),), (((1,), (3,)),))
    short = pack([(10, 0), (1, 0), (1, 0), (1, 0)], world=2, token_budget=10)
    assert [len(rank[0]) for rank in short.parts] == [2, 2]  # the rank of short rows alone would need one
    assert short.max_tokens == 10
    assert short.fillers == 0


def test_packed_rows_fill_any_part_that_has_room_and_padded_ones_the_last() -> None:
    lengths = [(6, 0), (5, 0), (4, 0)]

    assert pack(lengths, token_budget=10, layout="packed").parts == ((((0, 2), (1,)),),)
    assert pack(lengths, token_budget=10).parts == ((((0,), (1, 2)),),)


def test_equal_rows_that_divide_evenly_stay_in_contiguous_chunks() -> None:
    packing = pack([(3, 5)] * 8, world=2, micro_batches=2)

    assert packing.parts == ((((0, 1),), ((2, 3),)), (((4, 5),), ((6, 7),)))
    assert packing.padded_share == 0
    assert pack([(3, 5)] * 8, world=2, micro_batches=2, vision=[True] * 8).parts == packing.parts


def test_no_rows_are_one_filler_a_micro_batch() -> None:
    packing = pack([], world=2, micro_batches=3, token_budget=5)

    assert packing.parts == ((((),), ((),), ((),)), (((),), ((),), ((),)))
    assert (packing.fillers, packing.max_tokens, packing.padded_share) == (6, sum(FILLER), 1.0)


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([(4, 4)], {"world": 0}, "`world` is 0"),
        ([(4, 4)], {"micro_batches": 0}, "`micro_batches` is 0"),
        ([(4, 4)], {"token_budget": 0}, "`token_budget` is 0"),
        ([(4, -1)], {}, "row 0 has lengths"),
        ([(1, 1), (4, 5)], {"token_budget": 8}, r"row 1 has 4 \+ 5 = 9 tokens, above the budget of 8"),
        ([(4, 4)], {"vision": [True, False]}, "`vision` has 2 entries for 1 rows"),
    ],
)
def test_what_cannot_be_packed_is_refused(lengths: list[tuple[int, int]], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pack(lengths, **options)


@settings(deadline=None)
@given(
    LENGTHS,
    st.integers(1, 4),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(104, 400)),
    st.sampled_from(LAYOUTS),
    st.booleans(),
    st.randoms(),
)
def test_every_row_goes_to_one_part_of_its_kind_within_the_budget(
    lengths: list[tuple[int, int]],
    world: int,
    micro: int,
    budget: int | None,
    layout: Layout,
    tower: bool,
    rng: random.Random,
) -> None:
    vision = [rng.random() < 0.3 for _ in lengths]
    options = {"world": world, "micro_batches": micro, "token_budget": budget, "layout": layout, "tower_everywhere": tower}
    packing = pack(lengths, vision=vision, **options)

    rows = rows_of(packing)
    assert sorted(row for rank in rows for one in rank for row in one) == list(range(len(lengths)))
    assert [len(rank) for rank in packing.parts] == [micro] * world
    for kind in (True, False):
        each = vision.count(kind) // (world * micro)
        assert {sum(vision[row] == kind for row in one) for rank in rows for one in rank} <= {each, each + 1}
    for rank in packing.parts:
        for parts, kinds in zip(rank, packing.pictures, strict=True):
            assert len(parts) == len(kinds) > 0
            assert all(vision[row] == kind for part, kind in zip(parts, kinds, strict=True) for row in part)
    found = costs(packing, lengths, layout)
    assert packing.tokens == sum(found)
    assert packing.max_tokens == max(found)
    assert packing.padded_share == pytest.approx(1 - sum(map(sum, lengths)) / max(1, sum(found)))
    assert budget is None or max(found) <= budget
    assert packing == pack(lengths, vision=vision, **options)
    assert (packing.shown is not None) == (tower and any(vision))


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 4))
def test_sums_of_bins_differ_by_no_more_than_one_row(lengths: list[tuple[int, int]], world: int, micro: int) -> None:
    packing = pack(lengths, world=world, micro_batches=micro)

    totals = [sum(sum(lengths[row]) for row in one) for rank in rows_of(packing) for one in rank]
    assert max(totals) - min(totals) <= max([p + c for p, c in lengths], default=0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=50), st.integers(1, 3), st.integers(1, 3))
def test_without_a_budget_few_picture_parts_are_empty(rows: list[tuple[int, bool]], world: int, micro: int) -> None:
    """Pictures that do not reach all bins share micro-batches over the ranks."""
    vision = [seen for _, seen in rows]
    packing = pack([(length, 1) for length, _ in rows], world=world, micro_batches=micro, vision=vision)

    empty = sum(
        kind and not part
        for rank in packing.parts
        for parts, kinds in zip(rank, packing.pictures, strict=True)
        for part, kind in zip(parts, kinds, strict=True)
    )
    assert empty == (-sum(vision) % world if sum(vision) < world * micro else 0)


def test_few_pictures_go_to_the_same_micro_batch_of_all_ranks() -> None:
    packing = pack([(9, 1)] * 6 + [(2, 1)] * 2, world=2, micro_batches=2, vision=[False] * 6 + [True] * 2)

    assert packing.pictures == ((True, False), (False,))
    assert packing.fillers == 0


def test_a_filler_shows_the_picture_of_the_shortest_prompt_where_the_tower_runs_everywhere() -> None:
    lengths, vision = [(8, 2), (3, 9), (4, 1), (4, 1)], [True, True, False, False]

    alone = pack(lengths[1:], world=2, vision=vision[1:], tower_everywhere=True)
    assert alone.parts == ((((0,), (2,)),), (((), (1,)),))
    assert (alone.shown, alone.fillers, alone.tokens) == (0, 1, 12 + 5 + 5 + (3 + 2))
    assert pack(lengths, world=2, vision=vision, tower_everywhere=True).shown == 1
    assert pack(lengths[1:], world=2, vision=vision[1:]).tokens == 12 + 5 + 5 + sum(FILLER)
    assert pack(lengths[2:], world=2, vision=vision[2:], tower_everywhere=True).shown is None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("world", [2, 8, 64])
@pytest.mark.parametrize("left_out", [0.0, 0.6])
def test_memocrs_batch_of_1024_rollouts_keeps_the_budget_on_any_number_of_ranks(
    world: int, layout: Layout, left_out: float
) -> None:
    """Seven drafts over an article of 5,000 tokens, three readings; also where most rows have nothing to train on."""
    rng = random.Random(world)
    lengths, vision = [], []
    for _ in range(1024):
        drafts = [(rng.randint(5_200, 6_500), min(2048, int(rng.lognormvariate(6.2, 0.6)))) for _ in range(7)]
        readings = [(size + rng.randint(60, 140), min(2048, int(rng.lognormvariate(5.0, 0.7)))) for size in (1024, 256, 1024)]
        if rng.random() >= left_out:
            lengths += drafts + readings
            vision += [False] * 7 + [True] * 3

    packing = pack(
        lengths,
        world=world,
        micro_batches=16,
        token_budget=16_384,
        layout=layout,
        vision=vision,
        tower_everywhere=True,
    )

    assert sorted(row for rank in rows_of(packing) for one in rank for row in one) == list(range(len(lengths)))
    found = costs(packing, lengths, layout)
    assert max(found) == packing.max_tokens <= 16_384
    assert sum(found) == packing.tokens
    for rank in packing.parts:
        assert [len(parts) for parts in rank] == [len(kinds) for kinds in packing.pictures]
        for parts, kinds in zip(rank, packing.pictures, strict=True):
            assert all(vision[row] == kind for part, kind in zip(parts, kinds, strict=True) for row in part)
    assert packing.fillers <= world * 16
    assert packing.padded_share < (0.03 if layout == "packed" else 0.1)


@pytest.mark.slow
@pytest.mark.timed
def test_four_thousand_segments_are_packed_in_fifty_milliseconds_of_one_core() -> None:
    rng = random.Random(0)
    lengths = [(rng.randint(50, 4000), rng.randint(1, 2000)) for _ in range(4096)]
    vision = [rng.random() < 0.5 for _ in lengths]

    def seconds() -> float:
        start = thread_time()
        packing = pack(lengths, world=8, micro_batches=8, token_budget=65536, vision=vision)
        took = thread_time() - start
        sums = [sum(sum(lengths[row]) for row in one) for rank in rows_of(packing) for one in rank]
        assert max(sums) < 1.01 * min(sums)
        return took

    assert min(seconds() for _ in range(5)) < 0.05
