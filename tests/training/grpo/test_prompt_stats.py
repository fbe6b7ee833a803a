import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.prompt_stats import PromptStats

groups = st.integers(0, 9).flatmap(lambda tried: st.tuples(st.sampled_from("abcde"), st.integers(0, tried), st.just(tried)))
runs = st.lists(st.lists(groups, max_size=6), max_size=6)


def played(steps, *, window):
    history = PromptStats(window=window)
    for visits in steps:
        history.record(visits)
    return history


def test_a_new_history_knows_nothing():
    history = PromptStats()
    assert (history.window, history.step, history.failure, history.pass_rate("a")) == (1, 0, None, None)


def test_two_steps_by_hand_with_a_window_of_two():
    history = played([[("a", 3, 4), ("b", 0, 2)], [("a", 1, 2)], [("a", 0, 2), ("c", 2, 2)]], window=2)
    assert history.step == 3
    assert history.pass_rate("a") == 1 / 4  # (1, 2) and (0, 2); the oldest visit is gone
    assert history.pass_rate("b") == 0.0  # visits count, not steps
    assert history.pass_rate("c") == 1.0
    assert history.failure == (0.5 + 0.5) / 2  # steps 2 and 3


def test_a_window_of_one_remembers_the_last_step_only():
    history = played([[("a", 4, 4)], [("a", 1, 4), ("b", 4, 4)]], window=1)
    assert (history.pass_rate("a"), history.failure) == (0.25, 1 - 0.625)


def test_a_pass_rate_pools_the_last_visits():
    visits = [[("a", 5, 5)], [("a", 3, 4)], [("b", 1, 1)], [("a", 0, 6)]]
    assert played(visits, window=2).pass_rate("a") == pytest.approx(0.3, abs=1e-15)


def test_groups_of_one_prompt_are_one_visit():
    once = played([[("a", 3, 10), ("b", 1, 1)]], window=3)
    twice = played([[("a", 1, 2), ("b", 1, 1), ("a", 2, 8)]], window=3)
    assert twice.state_dict() == once.state_dict()
    assert twice.failure == pytest.approx(1 - (0.3 + 1) / 2)


def test_a_prompt_without_rollouts_is_absent_from_rates_and_failure():
    history = played([[("a", 1, 2), ("b", 0, 0)]], window=1)
    assert history.pass_rate("b") is None
    assert history.failure == 0.5


def test_a_step_without_rollouts_counts_but_says_nothing_of_failure():
    history = played([[("a", 1, 4)], []], window=1)
    assert (history.step, history.failure) == (2, 0.75)


@pytest.mark.parametrize("visit", [("a", 3, 2), ("a", -1, 2), ("a", 0, -1), ("a", 0.5, 2)])
def test_impossible_counts_are_refused_and_change_nothing(visit):
    history = played([[("a", 1, 4)]], window=2)
    before = history.state_dict()
    with pytest.raises(InputError, match="prompt `a` has"):
        history.record([("b", 1, 1), visit])
    assert history.state_dict() == before


def test_a_window_below_one_is_refused():
    with pytest.raises(ConfigError, match="`window` is 0"):
        PromptStats(window=0)


@given(runs, st.integers(1, 3))
def test_a_saved_history_goes_on_as_the_one_that_was_not_saved(steps, window):
    history = played(steps, window=window)
    loaded = PromptStats(window=window)
    loaded.load_state_dict(json.loads(json.dumps(history.state_dict())))
    assert loaded.state_dict() == history.state_dict()
    for one in (history, loaded):
        one.record([("a", 1, 3), ("e", 0, 2)])
    assert loaded.state_dict() == history.state_dict()
    assert loaded.failure == history.failure


@given(runs, st.integers(1, 3))
def test_rates_and_failure_stay_in_range(steps, window):
    history = played(steps, window=window)
    known = [rate for rate in map(history.pass_rate, "abcde") if rate is not None]
    assert all(0 <= rate <= 1 for rate in known)
    assert (history.failure is None) == (not known)
    assert history.failure is None or 0 <= history.failure <= 1


def test_a_state_is_a_copy():
    history = played([[("a", 1, 4)]], window=2)
    state = history.state_dict()
    state["prompts"]["a"][0][0] = 4
    state["failures"].append(0.0)
    assert (history.pass_rate("a"), history.failure) == (0.25, 0.75)


def test_prior_keeps_pass_rates_only():
    history = played([[("a", 1, 4)], [("b", 1, 2)]], window=2)
    loaded = PromptStats(window=2)
    loaded.record([("z", 1, 1)])
    loaded.load_state_dict(history.state_dict(), mode="prior")
    assert (loaded.step, loaded.failure) == (0, None)
    assert [loaded.pass_rate(one) for one in "abz"] == [0.25, 0.5, None]


def test_a_shorter_window_keeps_the_newest():
    loaded = PromptStats(window=1)
    loaded.load_state_dict(played([[("a", 1, 4)], [("a", 2, 2)]], window=3).state_dict())
    assert (loaded.window, loaded.pass_rate("a"), loaded.failure) == (1, 1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 1}, "version 1"),
        ({"version": None}, "version None"),
        ({"failures": ...}, "lacks `failures`"),
        ({"prompts": {"a": [[2, 1]]}}, "2 successes in 1"),
        ({"prompts": {"a": [[0, 0]]}}, "at least 1 rollouts"),
    ],
)
def test_a_foreign_state_is_refused_and_changes_nothing(change, said):
    history = played([[("a", 1, 4)]], window=2)
    before = history.state_dict()
    state = {key: value for key, value in {**before, "step": 9, **change}.items() if value is not ...}
    with pytest.raises(InputError, match=said):
        history.load_state_dict(state)
    assert history.state_dict() == before


def test_an_unknown_mode_of_loading_is_refused():
    with pytest.raises(InputError, match=r"`full` .*`prior`"):
        PromptStats().load_state_dict(PromptStats().state_dict(), mode="all")
