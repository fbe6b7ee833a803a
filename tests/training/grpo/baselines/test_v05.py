"""V0.5's baseline (arXiv 2603.10848): the fusion of prior and mean, when to stop, the part."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.grpo.baselines import (
    GroupMean,
    LeaveOneOut,
    V05Baseline,
    fuse,
    gain_rate,
    oracle_weight,
    osla_gain,
    run_group,
    stop_k,
    v05_baseline,
    v05_should_stop,
)
from memagent_training.grpo.validate import Floats
from training.experiments.v05_mse.exact import (
    bernoulli_gradient,
    exact_fixed,
    exact_sequential,
)

REWARDS = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_by_hand_a_rejected_prior() -> None:
    value, weight, rejected = v05_baseline([1, 1, 1, -1], -0.5)
    assert value == pytest.approx(-0.5 + 0.75)  # mean 1/2, d = 1, T = 4, w = 3/4
    assert weight == pytest.approx(0.75)
    assert rejected is True


def test_lists_tuples_arrays_and_integers_are_the_same() -> None:
    expected = v05_baseline([1.0, 1.0, -1.0], -1.0)
    assert v05_baseline((1, 1, -1), -1) == expected  # type: ignore[arg-type]
    assert v05_baseline(np.array([1, 1, -1], np.float32), np.float32(-1)) == expected  # type: ignore[arg-type]
    assert all(isinstance(one, kind) for one, kind in zip(expected, (float, float, bool), strict=True))


def test_empty_groups_and_values_out_of_range_are_refused() -> None:
    for function in (v05_baseline, v05_should_stop):
        with pytest.raises(InputError, match="at least one reward"):
            function([], 0.0)
        with pytest.raises(InputError, match="allowed is"):
            function([1.5, 0.0], 0.0)
        for prior in (1.2, math.nan, math.inf, None):
            with pytest.raises(InputError, match="prior"):
                function([1.0], prior)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="below"):
            function([0.0], 0.0, low=1, high=0)
        with pytest.raises(InputError, match="finite"):
            function([math.nan], 0.0)
    with pytest.raises(InputError, match="allowed is"):
        v05_baseline([0.0, -1.0], 0.5, low=0, high=1)


def test_rounding_at_the_ends_of_the_range_is_forgiven() -> None:
    assert v05_baseline([1 + 1e-12, 1.0], 1.0).value == 1.0


def test_settings_of_sampling_that_cannot_be_are_refused() -> None:
    for wrong in ({"k_max": 0}, {"cost": -1.0}, {"cost": math.nan}, {"osla": "greedy"}):
        with pytest.raises(InputError):
            v05_should_stop([1.0], 0.0, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k0"):
        run_group(0.0, [1.0] * 20, k0=17)
    with pytest.raises(InputError, match="draw up to 16"):
        run_group(-1.0, [1.0] * 8)
    with pytest.raises(InputError, match="D is"):
        stop_k(-0.1)
    with pytest.raises(InputError, match="k >= 1"):
        fuse(0.0, 0.0, 0)
    with pytest.raises(InputError, match="finite"):
        fuse(math.nan, 0.0, 1)


@pytest.mark.parametrize("osla", ["discrete", "continuous"])
def test_running_a_group_is_asking_whether_to_stop_after_each_rollout(osla: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(100):
        stream, prior = random.choice([-1.0, 1.0], 16), random.uniform(-1, 1)
        k = 4
        while not v05_should_stop(stream[:k], prior, osla=osla):  # type: ignore[arg-type]
            k += 1
        found = run_group(prior, stream, osla=osla)  # type: ignore[arg-type]
        assert found == (v05_baseline(stream[:k], prior).value, k, *v05_baseline(stream[:k], prior)[1:])


def test_steps_never_pass_k_max() -> None:
    assert run_group(-1.0, [1.0] * 16, step=5, cost=0).k == 16
    assert run_group(-1.0, [1.0] * 6, step=5, k_max=6, cost=0).k == 6


def test_gains_of_many_rollouts_add_up() -> None:
    for k, delta2 in itertools.product((4, 7), (0.0, 0.3, 2.0)):
        single = sum(osla_gain(k + more, delta2) for more in range(3))
        assert osla_gain(k, delta2, m=3) == pytest.approx(single)
        assert gain_rate(k, delta2, m=3) == pytest.approx(single / 3)


def test_the_continuous_rule_foresees_a_little_more() -> None:
    assert gain_rate(4, 0.5, osla="continuous") == pytest.approx((0.5 / 3) ** 2)  # w / k = D / (1 + k D)
    assert gain_rate(4, 0.5, osla="continuous") > gain_rate(4, 0.5)
    assert stop_k(1e9, osla="continuous") == stop_k(1e9) == 16


@given(rewards=REWARDS, prior=st.floats(0, 1))
def test_the_baseline_stands_between_the_prior_and_the_mean(rewards: list[float], prior: float) -> None:
    value, weight, rejected = v05_baseline(rewards, prior, low=0, high=1)
    low, high = sorted((prior, float(np.mean(rewards))))
    assert low - 1e-12 <= value <= high + 1e-12
    assert 0 <= weight < 1
    assert rejected == (weight > 0)


def test_the_part_takes_rewards_and_priors_within_bounds() -> None:
    (found,) = V05Baseline().advantages([[1, 1, 1, 1]], priors=[0.5], bounds=(0, 1))
    assert found == pytest.approx([0.125] * 4)  # half of the advantage of +1 and V = 0
    with pytest.raises(InputError, match="allowed is"):
        V05Baseline().advantages([[-1.0, 1.0]], priors=[0.5], bounds=(0, 1))
    with pytest.raises(InputError, match="prior"):
        V05Baseline().advantages([[1.0]], priors=[-0.5], bounds=(0, 1))
    with pytest.raises(InputError, match="there is none; give `bounds`"):
        V05Baseline().advantages([[1.0]], priors=[0.5], bounds=None)
    with pytest.raises(InputError, match="`low` must be below `high`"):
        V05Baseline().advantages([[1.0]], priors=[1.0], bounds=(1, 1))
    with pytest.raises(InputError, match="2 priors"):
        V05Baseline().advantages([[1.0]], priors=[0.5, 0.5], bounds=(0, 1))


@pytest.mark.parametrize("loo", [False, True])
def test_a_group_without_a_prior_falls_back_to_leave_one_out(loo: bool) -> None:
    groups = [[1.0, 0.0, 0.0], [1.0], [1.0, 1.0]]
    for ours, theirs in zip(
        V05Baseline(loo=loo).advantages(groups, priors=[None] * 3, bounds=(0, 1)), LeaveOneOut().advantages(groups), strict=True
    ):
        assert ours.tolist() == theirs.tolist()


def test_a_lone_rollout_with_a_prior_is_judged_by_it() -> None:
    assert V05Baseline(loo=True).advantages([[1.0]], priors=[0.25], bounds=(0, 1))[0].tolist() == [0.75]
    assert V05Baseline().advantages([[1.0]], priors=[0.75], bounds=(0, 1))[0].tolist() == [
        0.25
    ]  # d = 1/4, half a unit: T = 1/4


def test_leaving_out_judges_each_by_the_prior_and_the_others() -> None:
    rewards, prior = [1.0, 0.0, 1.0, 1.0, 1.0], 0.1
    (found,) = V05Baseline(loo=True).advantages([rewards], priors=[prior], bounds=(0, 1))
    others = [rewards[:at] + rewards[at + 1 :] for at in range(5)]
    values = [v05_baseline(one, prior, low=0, high=1).value for one in others]
    assert found == pytest.approx(np.array(rewards) - values, abs=1e-14)


def test_norms() -> None:
    groups, priors = [[1.0, 1.0, -1.0, 1.0], [1.0, 1.0, 1.0, 1.0]], [0.3, 0.0]
    plain = V05Baseline().advantages(groups, priors=priors, bounds=(-1, 1))
    batch = V05Baseline(norm="batch_std").advantages(groups, priors=priors, bounds=(-1, 1))
    deviation = np.std(groups, ddof=1) + 1e-6
    shaped = V05Baseline(norm="bernoulli").advantages(groups, priors=priors, bounds=(-1, 1))
    for at, value in enumerate((0.3, 0.75)):
        assert batch[at] == pytest.approx(plain[at] / deviation)
        assert shaped[at] == pytest.approx(plain[at] / (math.sqrt(1 - value**2) + 1e-6))


def test_bernoulli_norm_does_not_depend_on_the_range() -> None:
    ours = V05Baseline(norm="bernoulli").advantages([[1.0, 0.0, 1.0]], priors=[0.2], bounds=(0, 1))
    wide = V05Baseline(norm="bernoulli").advantages([[1.0, -1.0, 1.0]], priors=[-0.6], bounds=(-1, 1))
    assert ours[0] == pytest.approx(wide[0], abs=1e-12)


@pytest.mark.parametrize("norm", ["none", "batch_std", "bernoulli"])
def test_a_batch_of_equal_rewards_stays_finite_and_small(norm: str) -> None:
    found = V05Baseline(norm=norm).advantages([[1.0] * 4, [1.0] * 4], priors=[0.5, None], bounds=(0, 1))  # type: ignore[arg-type]
    assert 0 < found[0].max() < 1
    assert found[1].tolist() == [0.0] * 4


RANDOM = np.random.default_rng(0)


MEANS, EXPECTED = RANDOM.uniform(-1, 1, 4000), RANDOM.uniform(-1, 1, 4000)


SIZES = RANDOM.integers(1, 40, 4000)


def two_steps(vbar: Floats, prior: Floats, k: Floats) -> tuple[Floats, Floats]:
    """The published form: D = max(0, d^2 - 1/k), w = D / (D + 1/k)."""
    delta2 = np.maximum(0, (vbar - prior) ** 2 - 1 / k)
    return delta2, delta2 / (delta2 + 1 / k)


def test_fuse_is_vectorised_and_float64() -> None:
    found = fuse(MEANS, EXPECTED, SIZES)
    assert all(field.shape == (4000,) for field in found)
    assert all(field.dtype == np.float64 for field in found[:4])
    assert found.rejected.dtype == np.bool_
    for at in range(0, 4000, 97):
        one = fuse(MEANS[at], EXPECTED[at], SIZES[at])
        assert [field[at] for field in found] == list(one)
    assert fuse(MEANS[:3, None], EXPECTED[:5], 4).value.shape == (3, 5)


def test_equality_accepts_the_prior() -> None:
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


def test_other_ranges_are_the_affine_image() -> None:
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
    scaled = fuse(MEANS * 2.5, EXPECTED * 2.5, SIZES, half=2.5)
    assert scaled.delta2 == pytest.approx(fuse(MEANS, EXPECTED, SIZES).delta2 * 2.5**2, abs=1e-12)


def test_spot_values() -> None:
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


def test_advantages_are_r_minus_b_and_uniform_groups_stay() -> None:
    part = V05Baseline()
    assert part.norm == "none"
    assert not part.loo
    groups, priors = [[1.0, -1.0, 1.0, 1.0], [1.0] * 4, [-1.0] * 5], [-0.9, 0.0, 0.2]
    for group, prior, found in zip(groups, priors, part.advantages(groups, priors=priors, bounds=(-1, 1)), strict=True):
        assert found == pytest.approx(np.array(group) - v05_baseline(group, prior).value, abs=1e-15)
        assert found.all()


def test_leave_one_out_is_unbiased_and_off_by_default() -> None:
    assert V05Baseline().loo is False
    p, prior = np.linspace(0, 1, 21)[:, None], np.linspace(-1, 1, 21)
    for k in (1, 2, 4, 7):
        assert np.abs(bernoulli_gradient(p, prior, k, "v05_loo").mean - 2 * p * (1 - p)).max() < 1e-12
    for rate, guess in ((0.3, 0.1), (0.8, 0.9)):  # the part itself, over all groups of four
        expected = 0.0
        for actions in itertools.product((1, 0), repeat=4):
            (found,) = V05Baseline(loo=True).advantages([[float(one) for one in actions]], priors=[guess], bounds=(0, 1))
            chance = math.prod(rate if one else 1 - rate for one in actions)
            expected += chance * float(np.mean((np.array(actions) - rate) * found))
        assert expected == pytest.approx(rate * (1 - rate), abs=1e-14)  # d E[r] / d logit for rewards of 0 and 1


def test_weight_and_closed_form() -> None:
    found = fuse(MEANS, EXPECTED, SIZES)
    delta2, weight = two_steps(MEANS, EXPECTED, SIZES)
    assert np.abs(found.weight - weight).max() < 1e-12
    assert np.abs(found.delta2 - delta2).max() < 1e-12
    assert np.abs(found.value - (weight * MEANS + (1 - weight) * EXPECTED)).max() < 1e-12
    assert ((found.weight >= 0) & (found.weight <= 1)).all()
    assert ((found.weight == 0) == (SIZES * (MEANS - EXPECTED) ** 2 <= 1)).all()
    assert fuse(0.3, 0.3, 4).weight == 0


def test_between_prior_and_mean() -> None:
    found = fuse(MEANS, EXPECTED, SIZES)
    assert (found.value >= np.minimum(MEANS, EXPECTED) - 1e-15).all()
    assert (found.value <= np.maximum(MEANS, EXPECTED) + 1e-15).all()
    assert (np.abs(found.value - MEANS) <= 1 / np.sqrt(SIZES) + 1e-12).all()
    assert (np.abs(found.value - EXPECTED) <= np.abs(MEANS - EXPECTED) + 1e-15).all()


def test_symmetry_and_equivariance() -> None:
    found, flipped = fuse(MEANS, EXPECTED, SIZES), fuse(-MEANS, -EXPECTED, SIZES)
    assert (flipped.value == -found.value).all()
    for half, middle in ((0.5, 0.5), (7.0, -2.0)):
        mapped = fuse(middle + half * MEANS, middle + half * EXPECTED, SIZES, half=half)
        assert mapped.value == pytest.approx(middle + half * found.value, abs=1e-9)
        assert mapped.weight == pytest.approx(found.weight, abs=1e-9)
        assert mapped.statistic == pytest.approx(found.statistic, abs=1e-9)


def test_oracle_weight() -> None:
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


def test_one_step_look_ahead() -> None:
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


def test_a_uniform_group() -> None:
    (plain,) = GroupMean().advantages([[1.0] * 4])
    assert plain.tolist() == [0.0] * 4
    assert v05_baseline([1.0] * 4, 0.0).value == 0.75
    (found,) = V05Baseline().advantages([[1.0] * 4], priors=[0.0], bounds=(-1, 1))
    assert found.tolist() == [0.25] * 4
