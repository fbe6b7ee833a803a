"""`value_models.md`: the V0.5 items of the checklist (section 5) and the numeric properties 1-14 (section 4), by number."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from memagent_training.grpo.allocators.sequential import SequentialAllocator
from memagent_training.grpo.baselines import (
    GroupMean,
    V05Baseline,
    fuse,
    oracle_weight,
    osla_gain,
    run_group,
    stop_k,
    v05_baseline,
    v05_should_stop,
)
from memagent_training.grpo.baselines.base import Floats
from memagent_training.grpo.prompt_stats import PromptStats
from training.experiments.v05_mse.exact import bernoulli_gradient, binomial, exact_fixed, exact_sequential, standard_grid

RANDOM = np.random.default_rng(0)
MEANS, PRIORS = RANDOM.uniform(-1, 1, 4000), RANDOM.uniform(-1, 1, 4000)
SIZES = RANDOM.integers(1, 40, 4000)


def two_steps(vbar: Floats, prior: Floats, k: Floats) -> tuple[Floats, Floats]:
    """The published form: D = max(0, d^2 - 1/k), w = D / (D + 1/k)."""
    delta2 = np.maximum(0, (vbar - prior) ** 2 - 1 / k)
    return delta2, delta2 / (delta2 + 1 / k)


def test_checklist_v05_01_fuse_is_vectorised_float64_and_has_properties_1_to_3() -> None:
    found = fuse(MEANS, PRIORS, SIZES)
    assert all(field.shape == (4000,) for field in found)
    assert all(field.dtype == np.float64 for field in found[:4])
    assert found.rejected.dtype == np.bool_
    for at in range(0, 4000, 97):
        one = fuse(MEANS[at], PRIORS[at], SIZES[at])
        assert [field[at] for field in found] == list(one)
    assert fuse(MEANS[:3, None], PRIORS[:5], 4).value.shape == (3, 5)
    test_property_01_weight_and_closed_form()
    test_property_02_between_prior_and_mean()
    test_property_03_symmetry_and_equivariance()


def test_checklist_v05_02_equality_accepts_the_prior() -> None:
    assert v05_baseline([1, 1, 1, -1], 0.0) == (0.0, 0.0, False)  # d = 1/2, T = 1
    for k, s in itertools.product(range(1, 40), range(40)):
        mean = Fraction(2 * s - k, k)
        for prior in (mean - Fraction(1, 10), mean + Fraction(1, 10)):
            if s <= k and abs(prior) <= 1:
                exact = k * (mean - prior) ** 2 > 1
                assert v05_baseline([1.0] * s + [-1.0] * (k - s), float(prior)).rejected == exact
    for root in range(1, 12):  # d = 1 / sqrt(k) exactly, in numbers that floats round
        k = root**2
        successes = (k + root) // 2
        if 2 * successes - k == root:
            rewards = [1.0] * successes + [0.0] * (k - successes)
            assert not v05_baseline(rewards, 0.5, low=0, high=1).rejected
            assert v05_should_stop(rewards, 0.5, k_max=1000, low=0, high=1)


def test_checklist_v05_03_other_ranges_are_the_affine_image() -> None:
    for low, high in ((0.0, 1.0), (-3.0, 5.0), (10.0, 10.5)):
        half, middle = (high - low) / 2, (high + low) / 2
        for _ in range(100):
            rewards, prior = RANDOM.choice([-1.0, 1.0], int(RANDOM.integers(4, 17))), RANDOM.uniform(-1, 1)
            ours = v05_baseline(rewards, prior)
            mapped = v05_baseline(middle + half * rewards, middle + half * prior, low=low, high=high)
            assert mapped.value == pytest.approx(middle + half * ours.value, abs=1e-9)
            assert mapped.weight == pytest.approx(ours.weight, abs=1e-9)
            stops = v05_should_stop(middle + half * rewards, middle + half * prior, low=low, high=high)
            assert stops == v05_should_stop(rewards, prior)
    scaled = fuse(MEANS * 2.5, PRIORS * 2.5, SIZES, half=2.5)
    assert scaled.delta2 == pytest.approx(fuse(MEANS, PRIORS, SIZES).delta2 * 2.5**2, abs=1e-12)


def test_checklist_v05_04_exact_figures_enumerate_and_sum_to_one() -> None:
    mu, prior = np.linspace(-1, 1, 41)[:, None], np.linspace(-1, 1, 41)
    for k in (1, 4, 16, 64, 256):
        assert binomial(k, (1 + mu) / 2).sum(-1) == pytest.approx(1.0, abs=1e-12)
    found = exact_sequential(mu, prior)
    assert found.p_stop.shape == (41, 41, 13)
    assert np.abs(found.p_stop.sum(-1) - 1).max() < 1e-12
    assert found.mean_k == pytest.approx((found.p_stop * np.arange(4, 17)).sum(-1))
    again = exact_sequential(mu, prior)
    assert all((one == two).all() for one, two in zip(found, again, strict=True))


def test_checklist_v05_05_spot_values() -> None:
    fixed = {
        (0, -0.5): 0.2309,
        (0.5, -0.5): 0.3232,
        (0.8, 0.8): 0.0162,
        (1, 0.75): 0.0625,
        (0, 0.6): 0.2407,
        (0.4, 0.4): 0.0494,
    }
    for (mu, prior), mse in fixed.items():
        assert exact_fixed(mu, prior, 4).mse == pytest.approx(mse, abs=5.1e-5)
    sequential = {(0, -0.5): (0.1956, 6.324), (0.5, -0.5): (0.3193, 11.69), (1, 0): (0.0044, 15.0)}
    for (mu, prior), (mse, spent) in sequential.items():
        found = exact_sequential(mu, prior)
        assert found.mse == pytest.approx(mse, abs=5.1e-5)
        assert found.mean_k == pytest.approx(spent, abs=5e-3)


def test_checklist_v05_15_sequential_defaults_and_immediate_stop() -> None:
    part = SequentialAllocator()
    assert (part.k_init, part.k_max, part.step, part.cost) == (4, 16, 1, None)
    assert 1 / part.k_max**2 == 1 / 256
    assert run_group(0.0, [1.0, -1.0, 1.0, -1.0]) == (0.0, 4, 0.0, False)
    assert part.more([[1.0, 0.0, 1.0, 0.0]], priors=[0.5]) is None


def test_checklist_v05_16_batch_rounds_and_cap() -> None:
    rates, priors = RANDOM.uniform(0, 1, 30), RANDOM.uniform(0, 1, 30).tolist()
    stream = (RANDOM.random((30, 16)) < rates[:, None]).astype(float)

    def run(part: SequentialAllocator) -> tuple[list[int], int]:
        sizes, rounds = part.first([str(at) for at in range(30)], total=120, history=PromptStats()), 0
        while more := part.more([row[:k].tolist() for row, k in zip(stream, sizes, strict=True)], priors=priors):
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


def test_checklist_v05_16_the_cap_serves_by_gain_then_by_index() -> None:
    rewards = [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    priors = [0.0, -1.0, -1.0, 0.0]  # the gap of 2 gains more than the gap of 1
    serve = [SequentialAllocator(low=-1, batch_cap=16 + room).more(rewards, priors=priors) for room in range(5)]
    assert serve == [None, [0, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert SequentialAllocator(low=-1, step=3, batch_cap=20).more(rewards, priors=priors) == [0, 3, 1, 0]
    assert SequentialAllocator(low=-1, batch_cap=12).more(rewards, priors=priors) is None


def test_checklist_v05_17_advantages_are_r_minus_b_and_uniform_groups_stay() -> None:
    part = V05Baseline(low=-1)
    assert part.norm == "none"
    assert not part.loo
    groups, priors = [[1.0, -1.0, 1.0, 1.0], [1.0] * 4, [-1.0] * 5], [-0.9, 0.0, 0.2]
    for group, prior, found in zip(groups, priors, part.advantages(groups, priors=priors), strict=True):
        assert found == pytest.approx(np.array(group) - v05_baseline(group, prior).value, abs=1e-15)
        assert found.all()


def test_checklist_v05_18_leave_one_out_is_unbiased_and_off_by_default() -> None:
    assert V05Baseline().loo is False
    p, prior = np.linspace(0, 1, 21)[:, None], np.linspace(-1, 1, 21)
    for k in (1, 2, 4, 7):
        assert np.abs(bernoulli_gradient(p, prior, k, "v05_loo").mean - 2 * p * (1 - p)).max() < 1e-12
    for rate, guess in ((0.3, 0.1), (0.8, 0.9)):  # the part itself, over all groups of four
        expected = 0.0
        for actions in itertools.product((1, 0), repeat=4):
            (found,) = V05Baseline(loo=True).advantages([[float(one) for one in actions]], priors=[guess])
            chance = math.prod(rate if one else 1 - rate for one in actions)
            expected += chance * float(np.mean((np.array(actions) - rate) * found))
        assert expected == pytest.approx(rate * (1 - rate), abs=1e-14)  # d E[r] / d logit for rewards of 0 and 1


@pytest.mark.parametrize(
    ("noise", "bias", "prior", "fused", "ratio", "sequential", "spent", "plain"),
    [
        (0, 0, 0, 0.0405, 0.24, 0.0055, 4.46, 0.1503),
        (0.5, 0, 0.0319, 0.0601, 0.36, 0.0302, 4.73, 0.1416),
        (1, 0, 0.1141, 0.0952, 0.57, 0.0710, 5.40, 0.1240),
        (2, 0, 0.3306, 0.1453, 0.87, 0.1195, 6.96, 0.0963),
        (3, 0, 0.5235, 0.1715, 1.02, 0.1354, 7.83, 0.0856),
        (0, 1, 0.1258, 0.1129, 0.67, 0.0993, 5.75, 0.1165),
        (0, 2, 0.4279, 0.2050, 1.22, 0.1850, 8.05, 0.0832),
    ],
)
def test_checklist_v05_20_the_standard_grid(
    noise: float, bias: float, prior: float, fused: float, ratio: float, sequential: float, spent: float, plain: float
) -> None:
    grid = standard_grid(noise=noise, bias=bias)
    fixed, steps = exact_fixed(grid.mu, grid.prior, 4), exact_sequential(grid.mu, grid.prior)
    variance = grid.mean(1 - grid.mu**2)
    assert variance / 4 == pytest.approx(0.1675, abs=1e-12)
    assert grid.mean((grid.prior - grid.mu) ** 2) == pytest.approx(prior, abs=1e-4)
    assert grid.mean(fixed.mse) == pytest.approx(fused, abs=1e-4)
    assert grid.mean(fixed.mse) / (variance / 4) == pytest.approx(ratio, abs=5e-3)
    assert (ratio < 1) == (grid.mean(fixed.mse) < variance / 4)
    assert grid.mean(steps.mse) == pytest.approx(sequential, abs=1e-4)
    assert grid.mean(steps.mean_k) == pytest.approx(spent, abs=5e-3)
    assert variance / grid.mean(steps.mean_k) == pytest.approx(plain, abs=1e-4)


def test_checklist_v05_20_the_ratio_is_below_one_up_to_noise_2() -> None:
    for noise in np.linspace(0, 2, 9):
        grid = standard_grid(noise=noise)
        assert grid.mean(exact_fixed(grid.mu, grid.prior, 4).mse) < 0.1675


def test_property_01_weight_and_closed_form() -> None:
    found = fuse(MEANS, PRIORS, SIZES)
    delta2, weight = two_steps(MEANS, PRIORS, SIZES)
    assert np.abs(found.weight - weight).max() < 1e-12
    assert np.abs(found.delta2 - delta2).max() < 1e-12
    assert np.abs(found.value - (weight * MEANS + (1 - weight) * PRIORS)).max() < 1e-12
    assert ((found.weight >= 0) & (found.weight <= 1)).all()
    assert ((found.weight == 0) == (SIZES * (MEANS - PRIORS) ** 2 <= 1)).all()
    assert fuse(0.3, 0.3, 4).weight == 0


def test_property_02_between_prior_and_mean() -> None:
    found = fuse(MEANS, PRIORS, SIZES)
    assert (found.value >= np.minimum(MEANS, PRIORS) - 1e-15).all()
    assert (found.value <= np.maximum(MEANS, PRIORS) + 1e-15).all()
    assert (np.abs(found.value - MEANS) <= 1 / np.sqrt(SIZES) + 1e-12).all()
    assert (np.abs(found.value - PRIORS) <= np.abs(MEANS - PRIORS) + 1e-15).all()


def test_property_03_symmetry_and_equivariance() -> None:
    found, flipped = fuse(MEANS, PRIORS, SIZES), fuse(-MEANS, -PRIORS, SIZES)
    assert (flipped.value == -found.value).all()
    for half, middle in ((0.5, 0.5), (7.0, -2.0)):
        mapped = fuse(middle + half * MEANS, middle + half * PRIORS, SIZES, half=half)
        assert mapped.value == pytest.approx(middle + half * found.value, abs=1e-9)
        assert mapped.weight == pytest.approx(found.weight, abs=1e-9)
        assert mapped.statistic == pytest.approx(found.statistic, abs=1e-9)


def test_property_04_oracle_weight() -> None:
    delta2, sigma2 = np.geomspace(1e-9, 1e9, 50)[:, None], np.geomspace(1e-3, 1, 9)
    weight = oracle_weight(delta2, sigma2)
    mse = weight**2 * sigma2 + (1 - weight) ** 2 * delta2
    assert (mse <= np.minimum(delta2, sigma2) * (1 + 1e-12)).all()
    assert mse[0] == pytest.approx(0, abs=2e-9)
    assert mse[-1] == pytest.approx(sigma2, rel=1e-6)
    for other in np.linspace(0, 1, 21):
        assert (mse <= other**2 * sigma2 + (1 - other) ** 2 * delta2 + 1e-12).all()
    assert oracle_weight(0.01, 0.25) == pytest.approx(0.0385, abs=5e-5)  # the source's example
    assert oracle_weight(0, 0) == 0


def test_property_05_a_perfect_prior_still_has_false_rejections() -> None:
    assert exact_fixed(0, 0, 4).mse == 9 / 128
    assert exact_fixed(0, 0, 4).p_reject == 1 / 8
    mu = np.linspace(-0.999, 0.999, 3997)
    ratio = exact_fixed(mu, mu, 4).mse / ((1 - mu**2) / 4)
    assert 0.308 < ratio.max() <= 0.3085
    assert abs(mu[ratio.argmax()]) == pytest.approx(0.198, abs=2e-3)
    for k in (2, 4, 8, 16, 64):
        assert (exact_fixed(mu, mu, k).mse <= 0.34 * (1 - mu**2) / k).all()
    assert exact_fixed(np.array([-1, 1]), np.array([-1, 1]), 4).mse.tolist() == [0, 0]


def test_property_06_a_perfect_prior_sequentially() -> None:
    found = exact_sequential(0, 0)
    assert found.mse == pytest.approx(0.0074, abs=5e-5)
    assert found.mean_k == pytest.approx(4.564, abs=5e-4)
    assert found.p_stop[0] == 0.875


def test_property_07_a_wrong_prior_is_forgotten() -> None:
    for k, factor in ((4, 1.646), (16, 1.236), (64, 1.049), (256, 1.012)):
        assert k * exact_fixed(0, 1, k).mse == pytest.approx(factor, abs=6e-4)


def test_property_08_never_much_worse_at_fixed_size() -> None:
    mu, prior = np.linspace(-1, 1, 401)[:, None], np.linspace(-1, 1, 401)
    for k in (4, 9):
        error = exact_fixed(mu, prior, k).mse
        assert (error - (1 - mu**2) / k).max() <= 1 / k + 1e-12
        assert (error <= (np.sqrt(1 - mu**2) + 1) ** 2 / k + 1e-12).all()
    assert exact_fixed(1, 0.5, 4).mse == pytest.approx(0.25)
    assert exact_fixed(mu, prior, 4).mse.max() == pytest.approx(0.412, abs=5e-4)


def test_property_09_never_much_worse_sequentially() -> None:
    mu, prior = np.linspace(0, 1, 101)[:, None], np.linspace(-1, 1, 201)
    error = exact_sequential(mu, prior).mse
    assert error.max() <= 0.371
    assert (error - (1 - mu**2) / 4).max() <= 0.25 + 1e-12


def test_property_10_spot_values() -> None:
    assert exact_fixed(0, 0.6, 4).mse == pytest.approx(0.240694, abs=1e-6)
    assert exact_fixed(0.4, 0.4, 4).mse == pytest.approx(0.049424, abs=1e-6)
    test_checklist_v05_05_spot_values()


def test_property_11_one_step_look_ahead() -> None:
    delta2 = np.linspace(0.001, 4, 400)
    sizes = np.arange(1, 33)[:, None]
    gain = osla_gain(sizes, delta2)
    assert (np.diff(gain, axis=1) > 0).all()
    assert (np.diff(gain, axis=0) < 0).all()
    assert gain == pytest.approx(delta2 / (1 + sizes * delta2) - delta2 / (1 + (sizes + 1) * delta2))
    assert osla_gain(4, 0.0) == 0
    assert [stop_k(one) for one in (0, 0.05, 0.1, 0.25, 0.5, 0.75, 2)] == [4, 4, 6, 12, 14, 15, 16]
    assert stop_k(0.0868) == 4 < stop_k(0.0870)
    assert all(stop_k(one, cost=0) == 16 for one in (1e-3, 0.1, 4))
    assert all(stop_k(one, cost=1 / 20) == 4 for one in (0.1, 4, 1e6))
    random = np.random.default_rng(5)
    for _ in range(100):
        stream, prior = random.choice([-1.0, 1.0], 16), random.uniform(-1, 1)
        assert run_group(prior, stream, cost=1 / 20).k == 4
        found = run_group(prior, stream, cost=0)
        assert found.k == 16 or not found.rejected
        if not v05_baseline(stream[:4], prior).rejected:
            assert run_group(prior, stream).k == 4


def test_property_12_rollouts_grow_with_the_gap() -> None:
    spent = exact_sequential(0, np.array([0, 0.5, 1])).mean_k
    assert spent == pytest.approx([4.56, 6.32, 11.33], abs=5e-3)


def test_property_13_gradient_attenuation() -> None:
    p, prior = np.linspace(0.02, 0.98, 25)[:, None], np.linspace(-1, 1, 11)
    true = 2 * p * (1 - p)
    for k in (2, 4, 16):
        assert bernoulli_gradient(p, prior, k, "mean").mean / true == pytest.approx(np.full((25, 11), 1 - 1 / k))
        for name in ("loo", "prior", "v05_loo"):
            found = bernoulli_gradient(p, prior, k, name)  # type: ignore[arg-type]
            assert found.mean / true == pytest.approx(np.ones((25, 11)))
    for rate, guess, scale in ((0.5, 0, 0.906), (0.1, -0.8, 0.932), (0.75, 0.5, 0.943), (0.5, 0.8, 0.758)):
        found = bernoulli_gradient(rate, guess, 4, "v05")
        assert found.mean / (2 * rate * (1 - rate)) == pytest.approx(scale, abs=5e-4)


def test_property_14_a_uniform_group() -> None:
    (plain,) = GroupMean().advantages([[1.0] * 4])
    assert plain.tolist() == [0.0] * 4
    assert v05_baseline([1.0] * 4, 0.0).value == 0.75
    (found,) = V05Baseline(low=-1).advantages([[1.0] * 4], priors=[0.0])
    assert found.tolist() == [0.25] * 4
