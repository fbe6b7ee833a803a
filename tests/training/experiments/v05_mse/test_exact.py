"""The exact figures of V0.5's baseline, against enumeration, simulation and published values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from memagent.errors import InputError
from memagent_training.grpo.baselines import (
    LeaveOneOut,
    V05Baseline,
    run_group,
    v05_baseline,
    v05_should_stop,
)
from training.experiments.v05_mse.exact import (
    bernoulli_gradient,
    binomial,
    exact_fixed,
    exact_sequential,
    sequential_gradient,
    standard_grid,
)


def test_by_hand_an_accepted_prior_is_kept_exactly() -> None:
    found = v05_baseline([1, 1, -1, 1], 0.3)  # d = 0.2, T = 0.16
    assert found == (0.3, 0.0, False)
    assert v05_should_stop([1, 1, -1, 1], 0.3)


def test_exact_figures_agree_with_all_streams_of_rewards() -> None:
    mu, prior, k_max = 0.3, -0.6, 9
    p = (1 + mu) / 2
    mse = used = rejected = 0.0
    for stream in itertools.product((1.0, -1.0), repeat=k_max):
        chance = math.prod(p if one > 0 else 1 - p for one in stream)
        found = run_group(prior, stream, k0=3, k_max=k_max, cost=1 / 81, step=2)
        mse += chance * (found.value - mu) ** 2
        used += chance * found.k
        rejected += chance * found.rejected
    exact = exact_sequential(mu, prior, k0=3, k_max=k_max, cost=1 / 81, step=2)
    assert (exact.mse, exact.mean_k, exact.p_reject) == pytest.approx((mse, used, rejected), abs=1e-12)


@pytest.mark.parametrize("baseline", ["mean", "loo", "v05", "v05_loo"])
def test_exact_gradients_agree_with_all_groups_scored_by_the_parts(baseline: str) -> None:
    p, prior = 0.35, 0.4
    part = LeaveOneOut() if baseline == "loo" else V05Baseline(loo=baseline == "v05_loo")
    first = second = 0.0
    for actions in itertools.product((1, 0), repeat=4):
        rewards = [2.0 * one - 1 for one in actions]
        (found,) = part.advantages([rewards], priors=[prior], bounds=(-1, 1))
        if baseline == "mean":
            found = np.array(rewards) - np.mean(rewards)
        gradient = float(np.mean((np.array(actions) - p) * found))
        chance = math.prod(p if one else 1 - p for one in actions)
        first += chance * gradient
        second += chance * gradient**2
    exact = bernoulli_gradient(p, prior, 4, baseline)  # type: ignore[arg-type]
    assert (exact.mean, exact.var) == pytest.approx((first, second - first**2), abs=1e-12)


def test_gradients_of_sequential_groups_agree_with_all_streams() -> None:
    p, prior = 0.35, 0.4
    first = second = 0.0
    for actions in itertools.product((1, 0), repeat=8):
        rewards = [2.0 * one - 1 for one in actions]
        value, k, _, _ = run_group(prior, rewards, k_max=8, cost=1 / 64)
        gradient = float(np.mean((np.array(actions[:k]) - p) * (np.array(rewards[:k]) - value)))
        chance = math.prod(p if one else 1 - p for one in actions)
        first += chance * gradient
        second += chance * gradient**2
    exact = sequential_gradient(p, prior, k_max=8, cost=1 / 64)
    assert (exact.mean, exact.var) == pytest.approx((first, second - first**2), abs=1e-12)


def test_exact_evaluators_refuse_what_cannot_be() -> None:
    with pytest.raises(InputError, match="lie in"):
        exact_fixed(1.5, 0, 4)
    with pytest.raises(InputError, match="priors"):
        exact_fixed(0, -2, 4)
    with pytest.raises(InputError, match="lie in"):
        bernoulli_gradient(-0.1, 0, 4, "mean")
    with pytest.raises(InputError, match="choose one of"):
        bernoulli_gradient(0.1, 0, 4, "ema")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k is 0"):
        exact_fixed(0, 0, 0)
    with pytest.raises(InputError, match="k0"):
        exact_sequential(0, 0, k0=5, k_max=4)


@pytest.mark.parametrize("baseline", ["loo", "v05_loo", "prior"])
def test_a_group_of_one_left_out_has_an_unbiased_gradient_too(baseline: str) -> None:
    assert bernoulli_gradient(0.3, 0.5, 1, baseline).mean == pytest.approx(2 * 0.3 * 0.7)  # type: ignore[arg-type]


def test_exact_figures_enumerate_and_sum_to_one() -> None:
    mu, prior = np.linspace(-1, 1, 41)[:, None], np.linspace(-1, 1, 41)
    for k in (1, 4, 16, 64, 256):
        assert binomial(k, (1 + mu) / 2).sum(-1) == pytest.approx(1.0, abs=1e-12)
    found = exact_sequential(mu, prior)
    assert found.p_stop.shape == (41, 41, 13)
    assert np.abs(found.p_stop.sum(-1) - 1).max() < 1e-12
    assert found.mean_k == pytest.approx((found.p_stop * np.arange(4, 17)).sum(-1))
    again = exact_sequential(mu, prior)
    assert all((one == two).all() for one, two in zip(found, again, strict=True))


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
def test_the_standard_grid(
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


def test_the_ratio_is_below_one_up_to_noise_2() -> None:
    for noise in np.linspace(0, 2, 9):
        grid = standard_grid(noise=noise)
        assert grid.mean(exact_fixed(grid.mu, grid.prior, 4).mse) < 0.1675


def test_a_perfect_prior_still_has_false_rejections() -> None:
    assert exact_fixed(0, 0, 4).mse == 9 / 128
    assert exact_fixed(0, 0, 4).p_reject == 1 / 8
    mu = np.linspace(-0.999, 0.999, 3997)
    ratio = exact_fixed(mu, mu, 4).mse / ((1 - mu**2) / 4)
    assert 0.308 < ratio.max() <= 0.3085
    assert abs(mu[ratio.argmax()]) == pytest.approx(0.198, abs=2e-3)
    for k in (2, 4, 8, 16, 64):
        assert (exact_fixed(mu, mu, k).mse <= 0.34 * (1 - mu**2) / k).all()
    assert exact_fixed(np.array([-1, 1]), np.array([-1, 1]), 4).mse.tolist() == [0, 0]


def test_a_perfect_prior_sequentially() -> None:
    found = exact_sequential(0, 0)
    assert found.mse == pytest.approx(0.0074, abs=5e-5)
    assert found.mean_k == pytest.approx(4.564, abs=5e-4)
    assert found.p_stop[0] == 0.875


def test_a_wrong_prior_is_forgotten() -> None:
    for k, factor in ((4, 1.646), (16, 1.236), (64, 1.049), (256, 1.012)):
        assert k * exact_fixed(0, 1, k).mse == pytest.approx(factor, abs=6e-4)


def test_never_much_worse_at_fixed_size() -> None:
    mu, prior = np.linspace(-1, 1, 401)[:, None], np.linspace(-1, 1, 401)
    for k in (4, 9):
        error = exact_fixed(mu, prior, k).mse
        assert (error - (1 - mu**2) / k).max() <= 1 / k + 1e-12
        assert (error <= (np.sqrt(1 - mu**2) + 1) ** 2 / k + 1e-12).all()
    assert exact_fixed(1, 0.5, 4).mse == pytest.approx(0.25)
    assert exact_fixed(mu, prior, 4).mse.max() == pytest.approx(0.412, abs=5e-4)


def test_never_much_worse_sequentially() -> None:
    mu, prior = np.linspace(0, 1, 101)[:, None], np.linspace(-1, 1, 201)
    error = exact_sequential(mu, prior).mse
    assert error.max() <= 0.371
    assert (error - (1 - mu**2) / 4).max() <= 0.25 + 1e-12


def test_spot_values() -> None:
    assert exact_fixed(0, 0.6, 4).mse == pytest.approx(0.240694, abs=1e-6)
    assert exact_fixed(0.4, 0.4, 4).mse == pytest.approx(0.049424, abs=1e-6)


def test_rollouts_grow_with_the_gap() -> None:
    spent = exact_sequential(0, np.array([0, 0.5, 1])).mean_k
    assert spent == pytest.approx([4.56, 6.32, 11.33], abs=5e-3)


def test_gradient_attenuation() -> None:
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
