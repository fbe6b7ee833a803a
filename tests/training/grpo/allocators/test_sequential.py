"""V0.5's sampling: who gets more rollouts, in rounds, up to a cap."""

from __future__ import annotations

import numpy as np
import pytest

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.allocators.sequential import SequentialAllocator
from memagent_training.grpo.baselines import (
    run_group,
    v05_should_stop,
)
from memagent_training.grpo.prompt_stats import PromptStats


def test_the_allocator_starts_everyone_alike_whatever_the_total() -> None:
    part = SequentialAllocator()
    assert part.ragged
    assert part.first(["a", "b"], total=16, history=PromptStats()) == [4, 4]
    assert part.first([], total=0, history=PromptStats()) == []
    assert part.more([], priors=[], bounds=(0, 1)) is None


def test_the_allocator_asks_for_those_that_disagree() -> None:
    part = SequentialAllocator()
    rewards = [[1.0] * 4, [1.0, 1.0, -1.0, -1.0], [1.0] * 4, [1.0] * 16, []]
    assert part.more(rewards, priors=[-1.0, 0.0, None, -1.0, -1.0], bounds=(-1, 1)) == [1, 0, 0, 0, 0]
    assert part.more(rewards[1:], priors=[0.0, None, -1.0, -1.0], bounds=(-1, 1)) is None
    assert SequentialAllocator(step=5).more([[1.0] * 4, [1.0] * 14], priors=[-1.0, -1.0], bounds=(-1, 1)) == [5, 2]


def test_the_allocator_decides_as_the_function_does_in_any_range() -> None:
    random = np.random.default_rng(3)
    groups = [(random.random(int(random.integers(4, 17))) < 0.4).astype(float).tolist() for _ in range(200)]
    priors = random.random(200).tolist()
    for osla in ("discrete", "continuous"):
        found = SequentialAllocator(osla=osla).more(groups, priors=priors, bounds=(0, 1))
        expected = [
            int(not v05_should_stop(group, prior, low=0, high=1, osla=osla))  # type: ignore[arg-type]
            for group, prior in zip(groups, priors, strict=True)
        ]
        assert found == expected
    assert 0 < sum(expected) < 200


def test_cost_defaults_to_the_square_of_k_max() -> None:
    rewards, priors = [[1.0] * 8], [0.0]
    assert SequentialAllocator(k_max=9).more(rewards, priors=priors, bounds=(0, 1)) == [1]  # gain near 1/72 > 1/81
    assert SequentialAllocator(k_max=9, cost=1 / 20).more(rewards, priors=priors, bounds=(0, 1)) is None


def test_impossible_allocators_are_refused() -> None:
    for wrong in (
        {"k_init": 2},
        {"k_init": 0, "force": True},
        {"k_init": 8, "k_max": 4},
        {"step": 0},
        {"cost": -0.1},
        {"batch_cap": 3},
        {"osla": "greedy"},
    ):
        with pytest.raises(ConfigError):
            SequentialAllocator(**wrong)  # type: ignore[arg-type]
    assert SequentialAllocator(k_init=2, force=True).first(["a"], total=2, history=PromptStats()) == [2]
    with pytest.raises(InputError, match="exceed `batch_cap` 7"):
        SequentialAllocator(batch_cap=7).first(["a", "b"], total=8, history=PromptStats())
    with pytest.raises(InputError, match="give `bounds`"):
        SequentialAllocator().more([[1.0]], priors=[None], bounds=None)
    with pytest.raises(InputError, match="2 priors"):
        SequentialAllocator().more([[1.0]], priors=[None, None], bounds=(0, 1))
    with pytest.raises(InputError, match="prior"):
        SequentialAllocator().more([[1.0]], priors=[2.0], bounds=(0, 1))


RANDOM = np.random.default_rng(0)


def test_sequential_defaults_and_immediate_stop() -> None:
    part = SequentialAllocator()
    assert (part.k_init, part.k_max, part.step, part.cost) == (4, 16, 1, None)
    assert 1 / part.k_max**2 == 1 / 256
    assert run_group(0.0, [1.0, -1.0, 1.0, -1.0]) == (0.0, 4, 0.0, False)
    assert part.more([[1.0, 0.0, 1.0, 0.0]], priors=[0.5], bounds=(0, 1)) is None


def test_batch_rounds_and_cap() -> None:
    rates, priors = RANDOM.uniform(0, 1, 30), RANDOM.uniform(0, 1, 30).tolist()
    stream = (RANDOM.random((30, 16)) < rates[:, None]).astype(float)

    def run(part: SequentialAllocator) -> tuple[list[int], int]:
        sizes, rounds = part.first([str(at) for at in range(30)], total=120, history=PromptStats()), 0
        while more := part.more([row[:k].tolist() for row, k in zip(stream, sizes, strict=True)], priors=priors, bounds=(0, 1)):
            assert any(more)
            sizes, rounds = [k + further for k, further in zip(sizes, more, strict=True)], rounds + 1
        return sizes, rounds

    sizes, rounds = run(SequentialAllocator())
    alone = [run_group(prior, row, low=0, high=1).k for row, prior in zip(stream, priors, strict=True)]
    assert sizes == alone
    assert max(sizes) <= 16
    assert rounds == max(sizes) - 4 <= 12
    capped, _ = run(SequentialAllocator(batch_cap=150))
    assert sum(capped) == 150 < sum(sizes)
    assert all(k <= free for k, free in zip(capped, sizes, strict=True))
    assert run(SequentialAllocator(batch_cap=120))[0] == [4] * 30


def test_the_cap_serves_by_gain_then_by_index() -> None:
    rewards = [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    priors = [0.0, -1.0, -1.0, 0.0]  # the gap of 2 gains more than the gap of 1
    serve = [SequentialAllocator(batch_cap=16 + room).more(rewards, priors=priors, bounds=(-1, 1)) for room in range(5)]
    assert serve == [None, [0, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert SequentialAllocator(step=3, batch_cap=20).more(rewards, priors=priors, bounds=(-1, 1)) == [0, 3, 1, 0]
    assert SequentialAllocator(batch_cap=12).more(rewards, priors=priors, bounds=(-1, 1)) is None
