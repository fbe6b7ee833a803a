"""CoBA-RL (arXiv 2602.03048): value, shape, temperature, both ways of giving out, the part."""

from __future__ import annotations

import itertools
import json
import math
import time

import numpy as np
import pytest
from helpers.slow_allocation import spelled_out
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.grpo.allocators import (
    CobaAllocator,
    coba_allocate,
    coba_shape,
    coba_tau,
    coba_value,
    coba_warp,
)
from memagent_training.grpo.allocators.solvers import dp_allocate
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.prompt_stats import PromptStats

MODES = ("paper", "released")
rates = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1)), max_size=9)


def recorded(*steps, window=1):
    history = PromptStats(window=window)
    for visits in steps:
        history.record(visits)
    return history


def test_coba_value_by_hand():
    # Beta(2, 2) has density 6 p (1 - p) = 1.5 at one half
    assert coba_value(4, 0.5, tau=1.0, alpha=2, beta=2) == pytest.approx(1.5 * (1 - np.exp(-1.0)), rel=1e-12)
    # Beta(3, 1) has density 3 p^2
    assert coba_value(6, 0.2, tau=3.0, alpha=3, beta=1) == pytest.approx(0.12 * (1 - np.exp(-0.32)), rel=1e-12)


def test_coba_value_broadcasts_and_is_a_float_for_numbers():
    shape = {"tau": 3.0, "alpha": 7.3, "beta": 3.7}
    table = coba_value(np.arange(5)[None, :], np.array([0.2, 0.7])[:, None], **shape)
    assert table.shape == (2, 5)
    assert table[1, 3] == coba_value(3, 0.7, **shape)
    assert isinstance(coba_value(3, 0.7, **shape), float)
    assert coba_value([1, 2], 0.7, **shape).tolist() == table[1, 1:3].tolist()
    assert coba_value(2, [0.2, 0.7], **shape).tolist() == table[:, 2].tolist()
    assert (table[:, 0] == 0.0).all()


def test_coba_value_clips_sure_rates():
    shape = {"tau": 3.0, "alpha": 1.5, "beta": 10.5}
    assert coba_value(8, 0.0, **shape) == coba_value(8, 0.01, **shape)
    assert coba_value(8, 1.0, **shape) == coba_value(8, 0.99, **shape)


@given(st.floats(3, 12), st.floats(3, 12))
def test_the_density_of_coba_value_integrates_to_one(alpha, beta):
    grid = (np.arange(2000) + 0.5) / 2000
    density = coba_value(np.inf, grid, tau=1.0, alpha=alpha, beta=beta)  # an endless budget saturates
    assert density.mean() == pytest.approx(1.0, abs=1e-3)  # beyond the clip there is next to nothing


@pytest.mark.parametrize(
    "bad",
    [{"tau": 0.0}, {"tau": np.nan}, {"alpha": 0.0}, {"beta": -1.0}, {"pass_rate": 1.1}, {"pass_rate": np.nan}, {"budget": -1}],
)
def test_coba_value_refuses_what_has_no_value(bad):
    with pytest.raises(InputError, match=r"above 0|a pass rate is|a budget is"):
        coba_value(**{"budget": 2, "pass_rate": 0.5, "tau": 1.0, "alpha": 2.0, "beta": 2.0, **bad})


@pytest.mark.parametrize("failure", [-0.1, 1.1, np.nan])
def test_failure_rates_are_shares(failure):
    for call in (coba_warp, coba_shape):
        with pytest.raises(InputError, match="failure rate"):
            call(failure)


@pytest.mark.parametrize("kappa", [1.9, np.nan, np.inf])
def test_kappa_below_two_is_refused(kappa):
    with pytest.raises(InputError, match="`kappa`"):
        coba_shape(0.5, kappa=kappa)


def test_kappa_two_is_flat():
    assert coba_shape(0.9, kappa=2) == (1.0, 1.0)
    assert coba_value(np.inf, [0.1, 0.5, 0.8], tau=1, alpha=1, beta=1) == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("mode", MODES)
@given(given_rates=rates, extra=st.integers(0, 80), low=st.integers(0, 3), room=st.integers(0, 12), fair=st.booleans())
def test_coba_keeps_sum_and_bounds(mode, given_rates, extra, low, room, fair):
    count, high = len(given_rates), low + room
    total = count * low + extra
    spill = "fair" if fair else "released"
    counts = coba_allocate(given_rates, total, low=low, high=high, mode=mode, spill=spill)
    assert sum(counts) == min(total, count * high)
    assert all(low <= one <= high for one in counts)
    assert all(type(one) is int for one in counts)


@pytest.mark.parametrize("mode", MODES)
def test_coba_edges(mode):
    assert coba_allocate([], 8, low=2, high=4, mode=mode) == []
    assert coba_allocate([0.3], 8, low=2, high=16, mode=mode) == [8]
    assert coba_allocate([0.3, 0.6], 100, low=2, high=4, mode=mode) == [4, 4]
    assert coba_allocate([0.3, 0.6], 4, low=2, high=4, mode=mode) == [2, 2]
    assert sum(coba_allocate([0.0, 0.0, 0.0], 12, low=2, high=9, mode=mode)) == 12
    assert sum(coba_allocate([1.0, 1.0, 1.0], 12, low=2, high=9, mode=mode)) == 12
    assert coba_allocate([None, None], 100, low=2, high=4, mode=mode) == [4, 4]
    assert coba_allocate(np.array([0.3, 0.6]), np.int64(9), low=0, high=9, mode=mode) == coba_allocate(
        [0.3, 0.6], 9, low=0, high=9, mode=mode
    )


def test_a_prompt_may_get_nothing_when_low_is_zero():
    assert coba_allocate([0.5, 0.99], 5, low=0, high=8, mode="paper", alpha=5, beta=5, tau=12) == [5, 0]


def test_coba_prefers_the_warped_failure_rate():
    spread = [0.1, 0.3, 0.5, 0.7, 0.9]
    weak = coba_allocate(spread, 40, low=2, high=40, mode="paper", failure=0.7)
    strong = coba_allocate(spread, 40, low=2, high=40, mode="paper", failure=0.3)
    assert np.argmax(weak) == 3
    assert np.argmax(strong) == 0


def test_the_shape_comes_from_the_batch_when_nothing_is_given():
    rates_ = [0.1, None, 0.6, 0.8]
    bounds = {"low": 2, "high": 20, "mode": "paper"}
    alpha, beta = coba_shape(0.5)
    expected = coba_allocate(rates_, 40, **bounds, alpha=alpha, beta=beta, tau=coba_tau([0.1, 0.5, 0.6, 0.8]))
    assert coba_allocate(rates_, 40, **bounds) == expected  # mean of the known rates is 0.5
    assert coba_allocate(rates_, 40, **bounds, failure=0.5) == expected


def test_greedy_still_tells_saturated_prompts_apart():
    # with tau 0.001 every value is its density to the last bit; gains are near e^-500, e^-750 and e^-180, e^-270, ..., e^-630
    assert coba_allocate([0.5, 0.1], 10, low=2, high=20, mode="paper", alpha=2, beta=2, tau=0.001) == [3, 7]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"total": -1}, "`total` is -1"),
        ({"total": 8.5}, "`total` is 8.5"),
        ({"low": -1}, "`low` is -1"),
        ({"low": 5, "high": 4}, "`low` is 5"),
        ({"mode": "code"}, "one of: paper, released"),
        ({"spill": "even"}, "one of: released, fair"),
        ({"alpha": 2.0}, "give both"),
        ({"alpha": 2.0, "beta": 0.0}, "`beta` is 0.0"),
        ({"tau": -1.0}, "`tau` is -1.0"),
        ({"failure": 1.5}, "failure rate is 1.5"),
        ({"kappa": 1.0}, "`kappa` is 1.0"),
        ({"pass_rates": [0.5, np.nan]}, "pass rate is nan"),
        ({"pass_rates": [0.5, -0.1]}, "pass rate is -0.1"),
    ],
)
def test_coba_allocate_refuses(change, said):
    with pytest.raises(InputError, match=said):
        coba_allocate(**{"pass_rates": [0.2, 0.6], "total": 8, "low": 2, "high": 6, **change})


@pytest.mark.parametrize("seed", range(60))
def test_released_equals_the_spec_read_line_by_line(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    kinds = [0.0, 0.04, 0.05, 0.3, 0.6, 0.99, 0.995, 1.0, None]
    pass_rates = [kinds[i] if rng.random() < 0.5 else float(rng.random()) for i in rng.integers(0, len(kinds), count)]
    pass_rates[0] = 0.2 if all(one is None for one in pass_rates) else pass_rates[0]
    alpha, beta = coba_shape(float(rng.random()))
    low, high = 2, int(rng.integers(4, 30))
    total = count * low + int(rng.integers(0, 90))
    found = coba_allocate(pass_rates, total, low=low, high=high, mode="released", alpha=alpha, beta=beta)
    assert found == spelled_out(pass_rates, total, low=low, high=high, alpha=alpha, beta=beta)


def test_the_spill_of_the_released_code_favours_earlier_prompts_and_the_fair_one_does_not():
    assert coba_allocate([0.0, 0.0, 0.0], 15, low=2, high=20, mode="released") == [6, 5, 4]  # 9 units: 4, 3, 2
    assert coba_allocate([0.0, 0.0, 0.0], 15, low=2, high=20, mode="released", spill="fair") == [5, 5, 5]
    assert coba_allocate([0.0, 0.0, 0.0], 17, low=2, high=20, mode="released", spill="fair") == [6, 6, 5]


def test_units_that_the_released_code_drops_are_offered_again():
    # 9 units: 4 and 2 by equal weights; of the 3 left the first has room for 1 of its 2, the second takes 1: 7 and 5
    assert coba_allocate([0.0, 0.0], 13, low=2, high=7, mode="released") == [7, 6]


def test_the_fair_spill_refills_what_full_prompts_leave():
    # weights 1 and 0.96: quotas 5.1 and 4.9; the first is full after 3
    assert coba_allocate([0.0, 0.04], 14, low=2, high=7, mode="released", spill="fair") == [7, 7]
    assert coba_allocate([0.0, 0.04], 13, low=2, high=7, mode="released", spill="fair") == [7, 6]


def test_coba_part_calls_coba_allocate_with_the_state_of_the_history():
    history = recorded([("a", 1, 10), ("b", 6, 10), ("c", 0, 10)])
    part = CobaAllocator(low=1, high=20, kappa=7.0, mode="paper")
    expected = coba_allocate([0.1, None, 0.6, 0.0], 40, low=1, high=20, mode="paper", failure=history.failure, kappa=7.0)
    assert part.first(["a", "new", "b", "c"], total=40, history=history) == expected


def test_coba_part_starts_from_exploitation_when_only_pass_rates_were_loaded():
    history = PromptStats()
    history.load_state_dict(recorded([("a", 1, 4), ("b", 3, 4)]).state_dict(), mode="prior")
    assert CobaAllocator().beta_shape(history) == (9.0, 2.0)
    assert CobaAllocator(kappa=2.0).beta_shape(history) == (1.0, 1.0)
    expected = coba_allocate([0.25, 0.75], 32, low=2, high=128, mode="released", alpha=9.0, beta=2.0)
    assert CobaAllocator().first(["a", "b"], total=32, history=history) == expected


def test_coba_part_with_a_fixed_shape_ignores_failure():
    part = CobaAllocator(shape=(10.5, 1.5))
    assert part.beta_shape(recorded([("a", 0, 4)])) == part.beta_shape(recorded([("a", 4, 4)])) == (10.5, 1.5)


def test_coba_part_hands_on_its_spill():
    history = recorded([(one, 0, 4) for one in "abc"])
    assert CobaAllocator().first("abc", total=15, history=history) == [6, 5, 4]
    assert CobaAllocator(spill="fair").first("abc", total=15, history=history) == [5, 5, 5]


@pytest.mark.parametrize("mode", MODES)
def test_even_split_when_nothing_is_known_or_too_little_to_give(mode):
    assert coba_allocate([None] * 5, 17, low=2, high=128, mode=mode) == [4, 4, 3, 3, 3]
    assert coba_allocate([0.1, 0.5, 0.9, 0.2, None], 17, low=4, high=128, mode=mode) == [4, 4, 3, 3, 3]


def test_warp_is_identity_above_one_half_and_a_sigmoid_below():
    for failure in (0.5001, 0.6, 0.77, 1.0):
        assert coba_warp(failure) == failure
    for failure in (0.0, 0.2, 0.4, 0.5):
        assert coba_warp(failure) == pytest.approx(1 / (1 + math.exp(-10 * (failure - 0.5))), rel=1e-15)
    assert coba_warp(0.4) == pytest.approx(0.268941421, abs=1e-9)
    assert coba_warp(0.2) == pytest.approx(0.047425873, abs=1e-9)
    assert coba_warp(0.5) == 0.5
    assert coba_warp(0.5 + 1e-9) == pytest.approx(0.5, abs=1e-8)


def test_shape_sums_to_kappa_and_its_mode_is_the_warped_failure():
    assert coba_shape(0.7, kappa=11) == pytest.approx((7.3, 3.7), abs=1e-12)
    grid = np.linspace(0.01, 0.99, 9801)
    for kappa, failure in itertools.product((3.0, 7.0, 11.0, 21.0), (0.0, 0.3, 0.5, 0.62, 1.0)):
        alpha, beta = coba_shape(failure, kappa=kappa)
        assert alpha + beta == pytest.approx(kappa, rel=1e-15)
        assert 1 <= alpha <= kappa - 1
        assert (alpha - 1) / (kappa - 2) == pytest.approx(coba_warp(failure), rel=1e-12)
        density = coba_value(np.inf, grid, tau=1, alpha=alpha, beta=beta)
        assert grid[density.argmax()] == pytest.approx(np.clip(coba_warp(failure), 0.01, 0.99), abs=1e-4)


def test_greedy_equals_brute_force():
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


def test_gains_fall_by_a_constant_ratio():
    for rate, tau in itertools.product((0.01, 0.2, 0.5, 0.9), (3.0, 12.0)):
        gains = np.diff(coba_value(np.arange(40), rate, tau=tau, alpha=4.5, beta=6.5))
        assert (np.diff(gains) < 0).all()
        assert gains[1:] / gains[:-1] == pytest.approx(math.exp(-rate * (1 - rate) / tau), rel=1e-9)


def test_without_mid_prompts_all_goes_to_hard_then_easy():
    rates = [1.0, 0.0, 0.04, 0.995]
    # 6 units: 3 and 1 by weight 1 : 0.96, then 1 and 1
    assert coba_allocate(rates, 14, low=2, high=8, mode="released") == [2, 6, 4, 2]
    # 14 units: 6 (full) and 3, then 3 (full); 2 left for easy: 0 and 1 by weight 1e-6 : 0.005, then the first gets 1
    assert coba_allocate(rates, 22, low=2, high=8, mode="released") == [3, 8, 8, 3]
    assert coba_allocate(rates, 29, low=2, high=8, mode="released")[1:3] == [8, 8]


def test_hard_and_easy_prompts_get_no_units_by_gain():
    # A shape that puts nearly all value on p below 0.05: by gain the hard prompt would get everything.
    shape = {"alpha": 1.0, "beta": 60.0}
    paper = coba_allocate([0.04, 0.5, 0.995], 46, low=2, high=128, mode="paper", **shape)
    released = coba_allocate([0.04, 0.5, 0.995], 46, low=2, high=128, mode="released", **shape)
    assert paper == [42, 2, 2]
    # 40 units, share 0.6 + 0.4/3: 29 by gain, all to the only mid prompt; the other 11 to hard; none to easy
    assert released == [13, 31, 2]
    # and with one that puts it above 0.99, the easy one gets nothing beyond `low` either
    assert coba_allocate([0.04, 0.5, 0.995], 46, low=2, high=128, mode="released", alpha=60.0, beta=1.0) == [13, 31, 2]


def test_tau_runs_from_3_to_12():
    assert coba_tau([]) == coba_tau([0.4]) == 3.0
    assert coba_tau([0.37] * 6) == pytest.approx(3.0, abs=1e-12)
    assert coba_tau([0.05, 0.99] * 4) == 12.0
    assert coba_tau([0.2, 0.6]) == pytest.approx(3 + 9 * 0.04 / 0.1667, rel=1e-12)
    assert coba_tau([0.0, 0.02]) == pytest.approx(3 + 9 * 0.005**2 / 0.1667, rel=1e-12)  # clipped to 0.01


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_rate_acts_as_one_half(mode):
    bounds = {"low": 2, "high": 32, "mode": mode, "failure": 0.4}
    unknown = coba_allocate([0.02, None, 0.9, None], 64, **bounds)
    assert unknown == coba_allocate([0.02, 0.5, 0.9, 0.5], 64, **bounds)


def test_a_step_never_influences_its_own_allocation():
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
def test_a_restored_history_gives_identical_allocations(mode):
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
def test_a_large_batch_takes_less_than_two_seconds(mode):
    rates = np.random.default_rng(15).random(512)
    start = time.perf_counter()
    counts = coba_allocate(rates, 8192, low=2, high=128, mode=mode)
    assert time.perf_counter() - start < 2.0
    assert sum(counts) == 8192


@pytest.mark.parametrize("failure", [0.8, 0.3])
def test_a_large_batch_has_the_value_of_the_dynamic_program(failure):
    rates = np.random.default_rng(16).random(512)
    alpha, beta = coba_shape(failure)
    values = coba_value(np.arange(2, 129)[None, :], rates[:, None], tau=coba_tau(rates), alpha=alpha, beta=beta)
    best = values[np.arange(512), dp_allocate(values, 8192 - 1024)].sum()
    found = coba_allocate(rates, 8192, low=2, high=128, mode="paper", failure=failure)
    assert values[np.arange(512), np.array(found) - 2].sum() == pytest.approx(best, rel=1e-9)


def test_forced_uniform_gives_the_advantages_of_plain_grpo():
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
def test_the_reversed_ablation_swaps_alpha_and_beta_alone(mode):
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
