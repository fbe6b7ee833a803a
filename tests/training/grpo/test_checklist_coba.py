"""The conformance checklist of `spec/coba_rl.md`, section 13."""

import itertools
import json
import math
import time

import numpy as np
import pytest

from memagent_training.grpo.allocators import CobaAllocator, coba_allocate, coba_shape, coba_tau, coba_value, coba_warp
from memagent_training.grpo.allocators.solvers import dp_allocate
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.prompt_stats import PromptStats

MODES = ("paper", "released")


def recorded(*steps, window=1):
    history = PromptStats(window=window)
    for visits in steps:
        history.record(visits)
    return history


@pytest.mark.parametrize("mode", MODES)
def test_checklist_01_sum_and_bounds(mode):
    rng = np.random.default_rng(1)
    for _ in range(200):
        count, low = int(rng.integers(1, 12)), int(rng.integers(0, 4))
        high = low + int(rng.integers(0, 20))
        total = int(rng.integers(count * low, count * high + 1))
        rates = [None if rng.random() < 0.2 else float(rng.choice([0, 1, rng.random()])) for _ in range(count)]
        counts = coba_allocate(rates, total, low=low, high=high, mode=mode)
        assert sum(counts) == total
        assert all(low <= one <= high for one in counts)


@pytest.mark.parametrize("mode", MODES)
def test_checklist_02_even_split_when_nothing_is_known_or_too_little_to_give(mode):
    assert coba_allocate([None] * 5, 17, low=2, high=128, mode=mode) == [4, 4, 3, 3, 3]
    assert coba_allocate([0.1, 0.5, 0.9, 0.2, None], 17, low=4, high=128, mode=mode) == [4, 4, 3, 3, 3]


def test_checklist_03_warp_is_identity_above_one_half_and_a_sigmoid_below():
    for failure in (0.5001, 0.6, 0.77, 1.0):
        assert coba_warp(failure) == failure
    for failure in (0.0, 0.2, 0.4, 0.5):
        assert coba_warp(failure) == pytest.approx(1 / (1 + math.exp(-10 * (failure - 0.5))), rel=1e-15)
    assert coba_warp(0.4) == pytest.approx(0.268941421, abs=1e-9)
    assert coba_warp(0.2) == pytest.approx(0.047425873, abs=1e-9)
    assert coba_warp(0.5) == 0.5
    assert coba_warp(0.5 + 1e-9) == pytest.approx(0.5, abs=1e-8)


def test_checklist_04_shape_sums_to_kappa_and_its_mode_is_the_warped_failure():
    assert coba_shape(0.7, kappa=11) == pytest.approx((7.3, 3.7), abs=1e-12)
    grid = np.linspace(0.01, 0.99, 9801)
    for kappa, failure in itertools.product((3.0, 7.0, 11.0, 21.0), (0.0, 0.3, 0.5, 0.62, 1.0)):
        alpha, beta = coba_shape(failure, kappa=kappa)
        assert alpha + beta == pytest.approx(kappa, rel=1e-15)
        assert 1 <= alpha <= kappa - 1
        assert (alpha - 1) / (kappa - 2) == pytest.approx(coba_warp(failure), rel=1e-12)
        density = coba_value(np.inf, grid, tau=1, alpha=alpha, beta=beta)
        assert grid[density.argmax()] == pytest.approx(np.clip(coba_warp(failure), 0.01, 0.99), abs=1e-4)


def test_checklist_05_greedy_equals_brute_force():
    rng = np.random.default_rng(5)
    for _ in range(200):
        count, low = int(rng.integers(1, 5)), int(rng.integers(0, 3))
        high = low + int(rng.integers(1, 9))
        total = int(rng.integers(count * low, min(24, count * high) + 1))
        rates = rng.random(count)
        alpha, beta = coba_shape(float(rng.random()))
        shape = {"tau": coba_tau(rates), "alpha": alpha, "beta": beta}
        found = coba_allocate(rates, total, low=low, high=high, mode="paper", alpha=alpha, beta=beta)
        ways = (way for way in itertools.product(range(low, high + 1), repeat=count) if sum(way) == total)
        best = max(float(coba_value(way, rates, **shape).sum()) for way in ways)
        assert float(coba_value(found, rates, **shape).sum()) == pytest.approx(best, rel=1e-12)


def test_checklist_06_gains_fall_by_a_constant_ratio():
    for rate, tau in itertools.product((0.01, 0.2, 0.5, 0.9), (3.0, 12.0)):
        gains = np.diff(coba_value(np.arange(40), rate, tau=tau, alpha=4.5, beta=6.5))
        assert (np.diff(gains) < 0).all()
        assert gains[1:] / gains[:-1] == pytest.approx(math.exp(-rate * (1 - rate) / tau), rel=1e-9)


def test_checklist_07_without_mid_prompts_all_goes_to_hard_then_easy():
    rates = [1.0, 0.0, 0.04, 0.995]
    # 6 units: 3 and 1 by weight 1 : 0.96, then 1 and 1
    assert coba_allocate(rates, 14, low=2, high=8, mode="released") == [2, 6, 4, 2]
    # 14 units: 6 (full) and 3, then 3 (full); 2 left for easy: 0 and 1 by weight 1e-6 : 0.005, then the first gets 1
    assert coba_allocate(rates, 22, low=2, high=8, mode="released") == [3, 8, 8, 3]
    assert coba_allocate(rates, 29, low=2, high=8, mode="released")[1:3] == [8, 8]


def test_checklist_08_hard_and_easy_prompts_get_no_units_by_gain():
    # A shape that puts nearly all value on p below 0.05: by gain the hard prompt would get everything.
    shape = {"alpha": 1.0, "beta": 60.0}
    paper = coba_allocate([0.04, 0.5, 0.995], 46, low=2, high=128, mode="paper", **shape)
    released = coba_allocate([0.04, 0.5, 0.995], 46, low=2, high=128, mode="released", **shape)
    assert paper == [42, 2, 2]
    # 40 units, share 0.6 + 0.4/3: 29 by gain, all to the only mid prompt; the other 11 to hard; none to easy
    assert released == [13, 31, 2]
    # and with one that puts it above 0.99, the easy one gets nothing beyond `low` either
    assert coba_allocate([0.04, 0.5, 0.995], 46, low=2, high=128, mode="released", alpha=60.0, beta=1.0) == [13, 31, 2]


def test_checklist_09_tau_runs_from_3_to_12():
    assert coba_tau([0.37] * 6) == pytest.approx(3.0, abs=1e-12)
    assert coba_tau([0.05, 0.99] * 4) == 12.0
    assert coba_tau([0.2, 0.6]) == pytest.approx(3 + 9 * 0.04 / 0.1667, rel=1e-12)
    assert coba_tau([0.0, 0.02]) == pytest.approx(3 + 9 * 0.005**2 / 0.1667, rel=1e-12)  # clipped to 0.01


def test_checklist_10_failure_weighs_prompts_equally():
    assert recorded([("a", 1, 2), ("b", 0, 30)]).failure == 0.75


def test_checklist_11_pass_rate_pools_the_last_visits():
    visits = [[("a", 5, 5)], [("a", 3, 4)], [("b", 1, 1)], [("a", 0, 6)]]
    assert recorded(*visits, window=2).pass_rate("a") == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("mode", MODES)
def test_checklist_12_an_unknown_rate_acts_as_one_half(mode):
    bounds = {"low": 2, "high": 32, "mode": mode, "failure": 0.4}
    unknown = coba_allocate([0.02, None, 0.9, None], 64, **bounds)
    assert unknown == coba_allocate([0.02, 0.5, 0.9, 0.5], 64, **bounds)


def test_checklist_13_a_step_never_influences_its_own_allocation():
    past = [("a", 1, 8), ("b", 7, 8), ("c", 4, 8)]
    part, ids = CobaAllocator(mode="paper", high=40), ["a", "b", "c"]
    plans = []
    for successes in (0, 1):  # two futures of one past: all rollouts of the step fail, or all succeed
        history = recorded(past)
        counts = part.first(ids, total=24, history=history)
        history.record([(one, successes * count, count) for one, count in zip(ids, counts, strict=True)])
        plans.append((counts, part.beta_shape(history)))
    assert plans[0][0] == plans[1][0]
    assert plans[0][1] != plans[1][1]  # the next step sees it


@pytest.mark.parametrize("mode", MODES)
def test_checklist_14_a_restored_history_gives_identical_allocations(mode):
    rng = np.random.default_rng(14)
    ids = [f"p{position}" for position in range(12)]
    steps = []
    for _ in range(5):
        tried = rng.integers(1, 9, 12)
        steps.append(
            [(one, int(rng.integers(0, n + 1)), int(n)) for one, n in zip(ids[: rng.integers(6, 13)], tried, strict=False)]
        )
    history = recorded(*steps, window=3)
    restored = PromptStats(window=3)
    restored.load_state_dict(json.loads(json.dumps(history.state_dict())))
    part = CobaAllocator(mode=mode)
    assert part.beta_shape(restored) == part.beta_shape(history)  # alpha and beta follow from the failure window
    for _ in range(3):
        plan = part.first(ids, total=96, history=history)
        assert part.first(ids, total=96, history=restored) == plan
        for one in (history, restored):
            one.record([(prompt, count // 2, count) for prompt, count in zip(ids, plan, strict=True)])
    assert restored.state_dict() == history.state_dict()


@pytest.mark.parametrize("mode", MODES)
def test_checklist_15_a_large_batch_takes_less_than_two_seconds(mode):
    rates = np.random.default_rng(15).random(512)
    start = time.perf_counter()
    counts = coba_allocate(rates, 8192, low=2, high=128, mode=mode)
    assert time.perf_counter() - start < 2.0
    assert sum(counts) == 8192


@pytest.mark.parametrize("failure", [0.8, 0.3])
def test_checklist_15_a_large_batch_has_the_value_of_the_dynamic_program(failure):
    rates = np.random.default_rng(16).random(512)
    alpha, beta = coba_shape(failure)
    values = coba_value(np.arange(2, 129)[None, :], rates[:, None], tau=coba_tau(rates), alpha=alpha, beta=beta)
    best = values[np.arange(512), dp_allocate(values, 8192 - 1024)].sum()
    found = coba_allocate(rates, 8192, low=2, high=128, mode="paper", failure=failure)
    assert values[np.arange(512), np.array(found) - 2].sum() == pytest.approx(best, rel=1e-9)


def test_checklist_16_forced_uniform_gives_the_advantages_of_plain_grpo():
    rng = np.random.default_rng(16)
    history = recorded([(f"p{position}", position, 16) for position in range(16)])
    counts = CobaAllocator(low=8, high=8).first([f"p{position}" for position in range(16)], total=128, history=history)
    assert counts == [8] * 16
    rewards = (rng.random((16, 8)) < np.linspace(0, 1, 16)[:, None]).astype(np.float64)
    plain = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + 1e-6)
    ends = np.cumsum(counts)[:-1]
    ragged = GroupMean().advantages(np.split(rewards.ravel(), ends), priors=[None] * 16)
    assert np.array_equal(np.stack(ragged), plain)


@pytest.mark.parametrize("mode", MODES)
def test_checklist_17_the_reversed_ablation_swaps_alpha_and_beta_alone(mode):
    history = recorded([(f"p{position}", position, 16) for position in range(17)])
    ids = [f"p{position}" for position in range(17)]
    plain, reverse = CobaAllocator(mode=mode), CobaAllocator(mode=mode, reverse=True)
    alpha, beta = plain.beta_shape(history)
    assert reverse.beta_shape(history) == (beta, alpha)
    rates = [history.pass_rate(one) for one in ids]
    expected = coba_allocate(rates, 170, low=2, high=128, mode=mode, alpha=beta, beta=alpha)
    assert reverse.first(ids, total=170, history=history) == expected
    assert CobaAllocator(mode=mode, reverse=True, shape=(beta, alpha)).first(ids, total=170, history=history) == plain.first(
        ids, total=170, history=history
    )
