import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.allocators import (
    ALLOCATORS,
    CobaAllocator,
    KnapsackAllocator,
    UniformAllocator,
    coba_allocate,
    coba_shape,
    coba_tau,
    coba_value,
    coba_warp,
    knapsack_allocate,
    knapsack_rl_value,
    knapsack_value,
)
from memagent_training.grpo.allocators.solvers import dp_allocate, even_split, greedy_allocate
from memagent_training.grpo.prompt_stats import PromptStats

rates = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1)), max_size=9)


def brute_force(values, units):
    """The best summed value over all ways to give exactly `units`, one column index a row."""
    width = values.shape[1]
    ways = (way for way in itertools.product(range(width), repeat=len(values)) if sum(way) == units)
    return max(sum(values[row, more] for row, more in enumerate(way)) for way in ways)


def worth(values, counts):
    return sum(values[row, more] for row, more in enumerate(counts))


# --- the solvers


@pytest.mark.parametrize("seed", range(20))
def test_dp_equals_brute_force_on_any_table(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rng.integers(1, 5), rng.integers(1, 6)))
    most = len(values) * (values.shape[1] - 1)
    for units in range(most + 3):
        counts = dp_allocate(values, units)
        assert sum(counts) == min(units, most)
        assert worth(values, counts) == pytest.approx(brute_force(values, min(units, most)), abs=1e-12)


def test_both_solvers_give_equal_offers_to_the_lowest_row():
    values = np.arange(4.0) * np.ones((3, 1))
    assert greedy_allocate(np.diff(values, axis=1), 4) == [3, 1, 0]
    assert dp_allocate(values, 4) == [3, 1, 0]


def test_greedy_takes_the_next_gain_only():
    assert greedy_allocate(np.array([[1.0, 9.0, 9.0], [2.0, 2.0, 2.0]]), 3) == [0, 3]
    assert dp_allocate(np.array([[0.0, 1.0, 10.0, 19.0], [0.0, 2.0, 4.0, 6.0]]), 3) == [3, 0]


def test_solvers_take_no_rows_no_columns_and_no_units():
    assert greedy_allocate(np.zeros((0, 3)), 2) == dp_allocate(np.zeros((0, 4)), 2) == []
    assert greedy_allocate(np.zeros((2, 0)), 2) == dp_allocate(np.zeros((2, 1)), 2) == [0, 0]
    assert greedy_allocate(np.ones((2, 3)), 0) == dp_allocate(np.ones((2, 4)), 0) == [0, 0]


def test_even_split_gives_the_rest_to_the_first():
    assert even_split(17, 5) == [4, 4, 3, 3, 3]
    assert even_split(17, 5, high=3) == [3] * 5
    assert even_split(5, 0) == []


# --- CoBA


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


def test_tau_of_none_and_one_prompt_is_the_least():
    assert coba_tau([]) == coba_tau([0.4]) == 3.0


@pytest.mark.parametrize("mode", ["paper", "released"])
@given(given_rates=rates, extra=st.integers(0, 80), low=st.integers(0, 3), room=st.integers(0, 12), fair=st.booleans())
def test_coba_keeps_sum_and_bounds(mode, given_rates, extra, low, room, fair):
    count, high = len(given_rates), low + room
    total = count * low + extra
    spill = "fair" if fair else "released"
    counts = coba_allocate(given_rates, total, low=low, high=high, mode=mode, spill=spill)
    assert sum(counts) == min(total, count * high)
    assert all(low <= one <= high for one in counts)
    assert all(type(one) is int for one in counts)


@pytest.mark.parametrize("mode", ["paper", "released"])
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
        ({"mode": "code"}, "`paper` or `released`"),
        ({"spill": "even"}, "`released` or `fair`"),
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


def spelled_out(pass_rates, total, *, low, high, alpha, beta):
    """Mode `released`, section 5 of the spec read line by line, with linear searches."""
    count = len(pass_rates)
    known = [0.5 if one is None else one for one in pass_rates]
    budgets, left = [low] * count, total - count * low
    hard = [i for i in range(count) if known[i] < 0.05]
    easy = [i for i in range(count) if known[i] > 0.99]
    mid = [i for i in range(count) if i not in hard and i not in easy]
    share = 0.6 if not mid else 0.8 if len(mid) > count / 2 else 0.6 + 0.2 * (2 * len(mid) / count)
    pot = int(left * share)
    if mid and pot > 0:
        clipped = [min(max(known[i], 0.01), 0.99) for i in mid]
        mean = sum(clipped) / len(mid)
        variance = sum((one - mean) ** 2 for one in clipped) / len(mid)
        shape = {"tau": 3 + 9 * min(max(variance / 0.1667, 0), 1), "alpha": alpha, "beta": beta}
        for _ in range(pot):
            free = [i for i in mid if budgets[i] < high]
            if not free:
                break
            gain = {i: coba_value(budgets[i] + 1, known[i], **shape) - coba_value(budgets[i], known[i], **shape) for i in free}
            best = max(free, key=lambda i: (gain[i], -i))
            budgets[best] += 1
            left -= 1
    while left and min(budgets) < high:  # a second time only where the released code drops units
        for group in (hard, mid, easy):
            free = [i for i in group if budgets[i] < high]
            weight = {i: 1 - min(max(known[i], 1e-6), 1 - 1e-6) for i in free}
            for i in free:
                part = min(int(left * weight[i] / sum(weight.values())), high - budgets[i])
                budgets[i] += part
                left -= part
            free = [i for i in free if budgets[i] < high]
            share_, rest = divmod(left, len(free)) if free else (0, 0)
            for order, i in enumerate(free):
                part = min(share_ + (order < rest), high - budgets[i])
                budgets[i] += part
                left -= part
    return budgets


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


# --- knapsack


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_single_and_empty_groups_are_worth_nothing(p):
    assert knapsack_value(0, p) == knapsack_value(1, p) == 0.0
    assert knapsack_rl_value(0, p) == 0.0
    assert knapsack_rl_value(1, p) == pytest.approx(0.0, abs=1e-15)


def test_knapsack_values_by_hand_and_vectorised():
    assert knapsack_value(2, 0.3) == pytest.approx(0.42, rel=1e-12)
    assert knapsack_rl_value(2, 0.5) == pytest.approx(0.5 * 0.125, rel=1e-12)
    table = knapsack_value(np.arange(4)[None, :], np.array([0.2, 0.5])[:, None])
    assert table.shape == (2, 4)
    assert table[1, 3] == knapsack_value(3, 0.5) == 1.125
    assert isinstance(knapsack_rl_value(2, 0.5), float)


@pytest.mark.parametrize("value", ["v0", "knapsack_rl"])
@pytest.mark.parametrize("seed", range(15))
def test_knapsack_dp_equals_brute_force(seed, value):
    rng = np.random.default_rng(seed)
    success = rng.random(int(rng.integers(1, 5)))
    low, high = 1, int(rng.integers(3, 9))
    worth_of = {"v0": knapsack_value, "knapsack_rl": knapsack_rl_value}[value]
    table = worth_of(np.arange(low, high + 1)[None, :], np.clip(success, 1e-3, 1 - 1e-3)[:, None])
    total = int(rng.integers(low * len(success), high * len(success) + 1))
    counts = knapsack_allocate(success, total, low=low, high=high, method="dp", value=value)
    best = brute_force(table, total - low * len(success))
    assert worth(table, [one - low for one in counts]) == pytest.approx(best, rel=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 40))
def test_greedy_is_exact_for_the_value_of_knapsack_rl(success, extra):
    total = 2 * len(success) + extra
    table = knapsack_rl_value(np.arange(2, 17)[None, :], np.clip(success, 1e-3, 1 - 1e-3)[:, None])
    found = {
        method: worth(
            table,
            [one - 2 for one in knapsack_allocate(success, total, low=2, high=16, method=method, value="knapsack_rl")],
        )
        for method in ("greedy", "dp")
    }
    assert found["greedy"] == pytest.approx(found["dp"], rel=1e-9, abs=1e-15)


def test_unknown_and_sure_rates_are_filled_and_clipped():
    bounds = {"low": 2, "high": 9}
    assert knapsack_allocate([None, 0.9], 12, **bounds) == knapsack_allocate([0.5, 0.9], 12, **bounds)
    assert knapsack_allocate([0.0, 0.9], 12, **bounds) == knapsack_allocate([1e-3, 0.9], 12, **bounds)
    assert knapsack_allocate([1.0, 0.9], 12, **bounds) == knapsack_allocate([1 - 1e-3, 0.9], 12, **bounds)
    assert knapsack_allocate([], 0, **bounds) == []
    assert knapsack_allocate([0.4], 5, **bounds) == [5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"total": 3}, "need 4, the total is 3"),
        ({"method": "heap"}, "`greedy` or `dp`"),
        ({"value": "v1"}, "`v0` or `knapsack_rl`"),
        ({"success_rates": [0.5, 2.0]}, "2.0"),
        ({"low": 7}, "`low` is 7"),
    ],
)
def test_knapsack_allocate_refuses(change, said):
    with pytest.raises(InputError, match=said):
        knapsack_allocate(**{"success_rates": [0.2, 0.6], "total": 8, "low": 2, "high": 6, **change})


@pytest.mark.parametrize("value", [knapsack_value, knapsack_rl_value])
@pytest.mark.parametrize(("budget", "rate"), [(-1, 0.5), (np.nan, 0.5), (2, 1.5), (2, np.nan)])
def test_knapsack_values_refuse(value, budget, rate):
    with pytest.raises(InputError, match=r"budget is negative|success rate is"):
        value(budget, rate)


# --- the parts


def seen(*visits, window=1):
    history = PromptStats(window=window)
    history.record(visits)
    return history


@pytest.mark.parametrize("name", ["uniform", "coba", "knapsack"])
def test_every_part_splits_evenly_at_first_and_asks_for_nothing_more(name):
    part = ALLOCATORS[name]()
    assert part.name == name
    assert part.first(["a", "b", "c"], total=20, history=PromptStats()) == [7, 7, 6]
    assert part.first([], total=0, history=PromptStats()) == []
    assert part.more([[1.0], [0.0]], priors=[None, 0.5]) is None


def test_only_uniform_promises_equal_groups():
    assert [ALLOCATORS[name].ragged for name in ("uniform", "coba", "knapsack")] == [False, True, True]


def test_uniform_does_not_look_at_the_past():
    assert UniformAllocator().first(["a", "b"], total=8, history=seen(("a", 0, 4), ("b", 2, 4))) == [4, 4]


def test_coba_part_calls_coba_allocate_with_the_state_of_the_history():
    history = seen(("a", 1, 10), ("b", 6, 10), ("c", 0, 10))
    part = CobaAllocator(low=1, high=20, kappa=7.0, mode="paper")
    expected = coba_allocate([0.1, None, 0.6, 0.0], 40, low=1, high=20, mode="paper", failure=history.failure, kappa=7.0)
    assert part.first(["a", "new", "b", "c"], total=40, history=history) == expected


def test_coba_part_starts_from_exploitation_when_only_pass_rates_were_loaded():
    history = PromptStats()
    history.load_state_dict(seen(("a", 1, 4), ("b", 3, 4)).state_dict(), mode="prior")
    assert CobaAllocator().beta_shape(history) == (9.0, 2.0)
    assert CobaAllocator(kappa=2.0).beta_shape(history) == (1.0, 1.0)
    expected = coba_allocate([0.25, 0.75], 32, low=2, high=128, mode="released", alpha=9.0, beta=2.0)
    assert CobaAllocator().first(["a", "b"], total=32, history=history) == expected


def test_coba_part_with_a_fixed_shape_ignores_failure():
    part = CobaAllocator(shape=(10.5, 1.5))
    assert part.beta_shape(seen(("a", 0, 4))) == part.beta_shape(seen(("a", 4, 4))) == (10.5, 1.5)


def test_coba_part_hands_on_its_spill():
    history = seen(*((one, 0, 4) for one in "abc"))
    assert CobaAllocator().first("abc", total=15, history=history) == [6, 5, 4]
    assert CobaAllocator(spill="fair").first("abc", total=15, history=history) == [5, 5, 5]


def test_knapsack_part_calls_knapsack_allocate_with_the_rates():
    history = seen(("a", 2, 10), ("b", 6, 10))
    for settings in ({}, {"method": "dp"}, {"value": "knapsack_rl"}, {"low": 1, "high": 12}):
        part = KnapsackAllocator(**settings)
        expected = knapsack_allocate([0.2, None, 0.6], 30, **{"low": 2, "high": 128, **settings})
        assert part.first(["a", "new", "b"], total=30, history=history) == expected


@pytest.mark.parametrize("history", [PromptStats(), seen(("a", 1, 2))])
def test_knapsack_part_refuses_a_total_below_its_least(history):
    with pytest.raises(InputError, match="need 4, the total is 3"):
        KnapsackAllocator().first(["a", "b"], total=3, history=history)


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        (CobaAllocator, {"low": 9, "high": 8}),
        (CobaAllocator, {"low": -1}),
        (CobaAllocator, {"kappa": 1.0}),
        (CobaAllocator, {"mode": "code"}),
        (CobaAllocator, {"spill": "even"}),
        (CobaAllocator, {"shape": (0.0, 2.0)}),
        (CobaAllocator, {"shape": (1.0, 2.0, 3.0)}),
        (KnapsackAllocator, {"low": 9, "high": 8}),
        (KnapsackAllocator, {"method": "heap"}),
        (KnapsackAllocator, {"value": "v1"}),
    ],
)
def test_impossible_settings_are_refused_when_the_part_is_built(part, settings):
    with pytest.raises(ConfigError, match=f"allocator `{part.name}`"):
        part(**settings)


@given(rates, st.integers(0, 30), st.sampled_from(["uniform", "coba", "knapsack"]))
def test_every_part_gives_out_the_total(given_rates, extra, name):
    history = PromptStats()
    prompts = [str(position) for position in range(len(given_rates))]
    visits = zip(prompts, given_rates, strict=True)
    history.record([(prompt, round(rate * 8), 8) for prompt, rate in visits if rate is not None])
    total = 2 * len(prompts) + extra
    counts = ALLOCATORS[name]().first(prompts, total=total, history=history)
    assert sum(counts) == (total if prompts else 0)
    assert all(one >= 2 for one in counts)
