"""V0.5's parts: the functions, the baseline, the sequential allocator, and the priors."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.allocators.sequential import SequentialAllocator
from memagent_training.grpo.baselines import (
    LeaveOneOut,
    V05Baseline,
    fuse,
    gain_rate,
    osla_gain,
    run_group,
    stop_k,
    v05_baseline,
    v05_should_stop,
)
from memagent_training.grpo.priors import PRIORS, ConstantPrior, HistoryPrior, TablePrior
from memagent_training.grpo.prompt_stats import PromptStats
from training.experiments.v05_mse.exact import bernoulli_gradient, exact_fixed, exact_sequential, sequential_gradient

REWARDS = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_by_hand_a_rejected_prior() -> None:
    value, weight, rejected = v05_baseline([1, 1, 1, -1], -0.5)
    assert value == pytest.approx(-0.5 + 0.75)  # mean 1/2, d = 1, T = 4, w = 3/4
    assert weight == pytest.approx(0.75)
    assert rejected is True


def test_by_hand_an_accepted_prior_is_kept_exactly() -> None:
    found = v05_baseline([1, 1, -1, 1], 0.3)  # d = 0.2, T = 0.16
    assert found == (0.3, 0.0, False)
    assert v05_should_stop([1, 1, -1, 1], 0.3)


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
    part = LeaveOneOut() if baseline == "loo" else V05Baseline(low=-1, high=1, loo=baseline == "v05_loo")
    first = second = 0.0
    for actions in itertools.product((1, 0), repeat=4):
        rewards = [2.0 * one - 1 for one in actions]
        (found,) = part.advantages([rewards], priors=[prior])
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


def test_the_part_takes_rewards_of_zero_and_one_by_default() -> None:
    (found,) = V05Baseline().advantages([[1, 1, 1, 1]], priors=[0.5])
    assert found == pytest.approx([0.125] * 4)  # half of the advantage of +1 and V = 0
    with pytest.raises(InputError, match="allowed is"):
        V05Baseline().advantages([[-1.0, 1.0]], priors=[0.5])
    with pytest.raises(InputError, match="prior"):
        V05Baseline().advantages([[1.0]], priors=[-0.5])
    with pytest.raises(InputError, match="2 priors"):
        V05Baseline().advantages([[1.0]], priors=[0.5, 0.5])


@pytest.mark.parametrize("loo", [False, True])
def test_a_group_without_a_prior_falls_back_to_leave_one_out(loo: bool) -> None:
    groups = [[1.0, 0.0, 0.0], [1.0], [1.0, 1.0]]
    for ours, theirs in zip(
        V05Baseline(loo=loo).advantages(groups, priors=[None] * 3), LeaveOneOut().advantages(groups), strict=True
    ):
        assert ours.tolist() == theirs.tolist()


def test_a_lone_rollout_with_a_prior_is_judged_by_it() -> None:
    assert V05Baseline(loo=True).advantages([[1.0]], priors=[0.25])[0].tolist() == [0.75]
    assert V05Baseline().advantages([[1.0]], priors=[0.75])[0].tolist() == [0.25]  # d = 1/4, half a unit: T = 1/4


def test_leaving_out_judges_each_by_the_prior_and_the_others() -> None:
    rewards, prior = [1.0, 0.0, 1.0, 1.0, 1.0], 0.1
    (found,) = V05Baseline(loo=True).advantages([rewards], priors=[prior])
    others = [rewards[:at] + rewards[at + 1 :] for at in range(5)]
    values = [v05_baseline(one, prior, low=0, high=1).value for one in others]
    assert found == pytest.approx(np.array(rewards) - values, abs=1e-14)


def test_norms() -> None:
    groups, priors = [[1.0, 1.0, -1.0, 1.0], [1.0, 1.0, 1.0, 1.0]], [0.3, 0.0]
    plain = V05Baseline(low=-1).advantages(groups, priors=priors)
    batch = V05Baseline(low=-1, norm="batch_std").advantages(groups, priors=priors)
    deviation = np.std(groups, ddof=1) + 1e-6
    shaped = V05Baseline(low=-1, norm="bernoulli").advantages(groups, priors=priors)
    for at, value in enumerate((0.3, 0.75)):
        assert batch[at] == pytest.approx(plain[at] / deviation)
        assert shaped[at] == pytest.approx(plain[at] / (math.sqrt(1 - value**2) + 1e-6))


def test_bernoulli_norm_does_not_depend_on_the_range() -> None:
    ours = V05Baseline(norm="bernoulli").advantages([[1.0, 0.0, 1.0]], priors=[0.2])
    wide = V05Baseline(norm="bernoulli", low=-1).advantages([[1.0, -1.0, 1.0]], priors=[-0.6])
    assert ours[0] == pytest.approx(wide[0], abs=1e-12)


@pytest.mark.parametrize("norm", ["none", "batch_std", "bernoulli"])
def test_a_batch_of_equal_rewards_stays_finite_and_small(norm: str) -> None:
    found = V05Baseline(norm=norm).advantages([[1.0] * 4, [1.0] * 4], priors=[0.5, None])  # type: ignore[arg-type]
    assert 0 < found[0].max() < 1
    assert found[1].tolist() == [0.0] * 4


def test_the_allocator_starts_everyone_alike_whatever_the_total() -> None:
    part = SequentialAllocator()
    assert part.ragged
    assert part.first(["a", "b"], total=16, history=PromptStats()) == [4, 4]
    assert part.first([], total=0, history=PromptStats()) == []
    assert part.more([], priors=[]) is None


def test_the_allocator_asks_for_those_that_disagree() -> None:
    part = SequentialAllocator(low=-1)
    rewards = [[1.0] * 4, [1.0, 1.0, -1.0, -1.0], [1.0] * 4, [1.0] * 16, []]
    assert part.more(rewards, priors=[-1.0, 0.0, None, -1.0, -1.0]) == [1, 0, 0, 0, 0]
    assert part.more(rewards[1:], priors=[0.0, None, -1.0, -1.0]) is None
    assert SequentialAllocator(low=-1, step=5).more([[1.0] * 4, [1.0] * 14], priors=[-1.0, -1.0]) == [5, 2]


def test_the_allocator_decides_as_the_function_does_in_any_range() -> None:
    random = np.random.default_rng(3)
    groups = [(random.random(int(random.integers(4, 17))) < 0.4).astype(float).tolist() for _ in range(200)]
    priors = random.random(200).tolist()
    for osla in ("discrete", "continuous"):
        found = SequentialAllocator(osla=osla).more(groups, priors=priors)
        expected = [
            int(not v05_should_stop(group, prior, low=0, high=1, osla=osla))  # type: ignore[arg-type]
            for group, prior in zip(groups, priors, strict=True)
        ]
        assert found == expected
    assert 0 < sum(expected) < 200


def test_cost_defaults_to_the_square_of_k_max() -> None:
    rewards, priors = [[1.0] * 8], [0.0]
    assert SequentialAllocator(k_max=9).more(rewards, priors=priors) == [1]  # gain near 1/72 > 1/81
    assert SequentialAllocator(k_max=9, cost=1 / 20).more(rewards, priors=priors) is None


def test_impossible_allocators_are_refused() -> None:
    for wrong in (
        {"k_init": 2},
        {"k_init": 0, "force": True},
        {"k_init": 8, "k_max": 4},
        {"step": 0},
        {"cost": -0.1},
        {"low": 1.0},
        {"batch_cap": 3},
        {"osla": "greedy"},
    ):
        with pytest.raises(ConfigError):
            SequentialAllocator(**wrong)  # type: ignore[arg-type]
    assert SequentialAllocator(k_init=2, force=True).first(["a"], total=2, history=PromptStats()) == [2]
    with pytest.raises(InputError, match="exceed `batch_cap` 7"):
        SequentialAllocator(batch_cap=7).first(["a", "b"], total=8, history=PromptStats())
    with pytest.raises(InputError, match="2 priors"):
        SequentialAllocator().more([[1.0]], priors=[None, None])
    with pytest.raises(InputError, match="prior"):
        SequentialAllocator().more([[1.0]], priors=[2.0])


def test_the_prior_from_history_is_the_pass_rate_in_reward_units() -> None:
    history = PromptStats()
    part = HistoryPrior()
    assert part.value("a", history=history) is None
    history.record([("a", 3, 4)])
    assert part.value("a", history=history) == 0.75
    assert HistoryPrior(low=-1, high=1).value("a", history=history) == 0.5
    assert HistoryPrior(smoothing=0.5).value("a", history=history) == 0.625
    assert part.value("b", history=history) is None


def test_constant_and_table_priors(tmp_path: Path) -> None:
    history = PromptStats()
    assert ConstantPrior(constant=-0.5).value("a", history=history) == -0.5
    path = tmp_path / "table.jsonl"
    path.write_text('{"id": "a", "p": 0.25, "note": "x"}\n\n{"id": "b", "p": 1}\n', "utf-8")
    table = TablePrior(path=str(path), low=-1)
    assert [table.value(name, history=history) for name in ("a", "b", "c")] == [-0.5, 1.0, None]
    assert sorted(PRIORS) == ["constant", "history", "table"]


@pytest.mark.parametrize(
    "line", ['{"id": "a"}', '{"id": "a", "p": 1.5}', '{"id": "a", "p": NaN}', '{"id": 3, "p": 0.5}', "[]", "no"]
)
def test_a_line_that_is_no_prior_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps({"id": "z", "p": 0.5}) + "\n" + line, "utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        TablePrior(path=str(path))


def test_impossible_priors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text('{"id": "a", "p": 0.5}\n' * 2, "utf-8")
    for wrong in (
        lambda: HistoryPrior(low=1, high=0),
        lambda: HistoryPrior(smoothing=1),
        lambda: ConstantPrior(constant=math.nan),
        lambda: TablePrior(path=str(tmp_path / "absent")),
        lambda: TablePrior(path=str(path)),
    ):
        with pytest.raises(ConfigError):
            wrong()
