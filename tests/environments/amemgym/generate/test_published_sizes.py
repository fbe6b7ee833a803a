"""Procedural users keep the published sizes, times, changes and options, and tell no more than they should."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.environments.amemgym.data import UserItem, save_items
from memagent.environments.amemgym.generate import ValueMatcher, generate_user, generate_users, preset, settings_from
from memagent.environments.amemgym.generate.timestamps import add_months, session_times
from memagent.environments.amemgym.generate.trajectory import evolve
from memagent.errors import InputError

REPOSITORY = Path(__file__).parents[4]
BASE = preset("v1.base")


@pytest.fixture(scope="module")
def users() -> list[UserItem]:
    return generate_users(60, settings=BASE)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


# -- times ---------------------------------------------------------------------------------------------------------------


def test_sessions_take_the_last_evenings_of_their_period(users: list[UserItem]) -> None:
    for period in (period for item in users for period in item.periods):
        end = date.fromisoformat(period.period_end)
        moments = [_moment(session.session_time) for session in period.sessions]
        assert [one.date() for one in moments] == [end - timedelta(days=back) for back in range(len(moments))][::-1]
        assert all("19:00:00" <= f"{one:%H:%M:%S}" <= "22:00:00" for one in moments)


@given(seed=st.integers(), count=st.integers(0, 40))
def test_times_lie_between_seven_and_ten_both_included(seed: int, count: int) -> None:
    times = session_times(count, date(2021, 1, 1), Random(seed))
    assert times == sorted(times)
    assert all("19:00:00" <= time[11:] <= "22:00:00" for time in times)


def test_both_ends_of_the_evening_are_drawn() -> None:
    class Ends(Random):
        def randint(self, a: int, b: int) -> int:
            return a if self.random() < 0.5 else b

    assert {time[11:] for time in session_times(20, date(2021, 1, 1), Ends(1))} == {"19:00:00", "22:00:00"}


def test_more_sessions_than_days_are_an_error() -> None:
    start, end = date(2021, 2, 1), date(2021, 2, 6)
    assert len(session_times(5, end, Random(0), start=start)) == 5
    with pytest.raises(InputError, match="6 sessions do not fit in the 5 days"):
        session_times(6, end, Random(0), start=start)


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2020-10-01", 3, "2021-01-01"),
        ("2020-01-31", 1, "2020-02-28"),
        ("2019-11-30", 3, "2020-02-28"),
        ("2020-02-29", 12, "2021-02-28"),
        ("2021-01-31", 3, "2021-04-30"),
        ("2020-12-15", 25, "2023-01-15"),
    ],
)
def test_months_are_clipped_with_february_at_28(day: str, months: int, expected: str) -> None:
    assert add_months(date.fromisoformat(day), months).isoformat() == expected


# -- changes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v1.base", "v1.extra"])
def test_changes_are_target_give_or_take_one_and_real_and_capped(name: str) -> None:
    used = preset(name)
    for item in generate_users(40, settings=used):
        for before, period in zip(item.periods, item.periods[1:], strict=False):
            assert abs(len(period.updates) - used.num_changes_per_period) <= 1
            for variable, update in period.updates.items():
                assert update.old == before.state[variable] != update.new
                assert update.new in item.state_schema[variable]
        assert max(item.periods[0].update_cnts.values()) <= used.max_changes_per_state


def test_values_mostly_take_one_step_and_linked_variables_change_together(users: list[UserItem]) -> None:
    steps = Counter(
        abs(item.state_schema[variable].index(update.new) - item.state_schema[variable].index(str(update.old)))
        for item in users
        for period in item.periods[1:]
        for variable, update in period.updates.items()
        if item.state_schema[variable].index(str(update.old)) != 1
    )
    assert steps[1] / steps.total() == pytest.approx(0.8, abs=0.05)
    together = [
        any(len(session.exposed_states) > 1 for session in period.sessions) for item in users for period in item.periods[1:]
    ]
    assert 0.2 < mean(together) < 0.6


# -- options ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v1.base", "v1.extra"])
def test_options_hold_every_experienced_variant_once(name: str) -> None:
    used = preset(name)
    for item in generate_users(30, settings=used):
        for question in item.qas:
            states = [choice.state for choice in question.answer_choices]
            lived = {tuple(period.state[variable] for variable in question.required_info) for period in item.periods}
            assert len(states) >= used.min_state_variants
            assert len(set(states)) == len(states)
            assert lived == {choice.state for choice in question.answer_choices if choice.type == "experience"}
            assert len(states) == max(len(lived), used.min_state_variants)
            assert len({choice.answer for choice in question.answer_choices}) == len(states)


def test_the_shuffle_is_seeded_and_recorded(users: list[UserItem]) -> None:
    firsts = Counter[str]()
    for item in users:
        seeds = item.model_dump()["generation"]["option_seeds"]
        assert len(set(seeds)) == len(item.qas)
        for question in item.qas:
            if {choice.type for choice in question.answer_choices} == {"experience", "random"}:
                firsts[question.answer_choices[0].type] += 1
    assert min(firsts.values()) > 20
    other = generate_users(60, settings=BASE, seed=1)
    assert users[0].model_dump()["generation"]["option_seeds"] != other[0].model_dump()["generation"]["option_seeds"]


# -- seeds ---------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "import sys; from memagent.environments.amemgym.data import save_items\n"
        "from memagent.environments.amemgym.generate import generate_users, preset\n"
        "save_items(generate_users(5, settings=preset('v1.base'), seed=9), sys.argv[1])"
    )
    save_items(generate_users(5, settings=BASE, seed=9), tmp_path / "here.json")
    for hashing in ("0", "1"):
        command = [sys.executable, "-c", script, str(tmp_path / "there.json")]
        subprocess.run(command, cwd=REPOSITORY, env={"PYTHONHASHSEED": hashing}, check=True)
        assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()


def test_workers_make_no_difference(users: list[UserItem]) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda index: generate_user(index, settings=BASE), range(12)))
    assert made == users[:12]


# -- stricter than published -----------------------------------------------------------------------------------------------


def test_questions_have_the_asked_numbers_and_no_variable_twice(users: list[UserItem]) -> None:
    for item in users:
        assert len(item.qas) == len({question.query for question in item.qas}) == BASE.num_questions
        for question in item.qas:
            assert len(question.required_info) == len(set(question.required_info)) == BASE.num_states_per_question
            assert all(len(item.state_schema[variable]) == BASE.num_choices_per_state for variable in question.required_info)
        assert item.state_schema.keys() == {variable for question in item.qas for variable in question.required_info}


def test_the_cap_is_hard_until_too_few_variables_are_left() -> None:
    used = settings_from({"num_questions": 2, "num_periods": 6, "num_changes_per_period": 3, "max_changes_per_state": 2})
    schema = dict.fromkeys("vwxyz", ("a", "b", "c"))
    evolution = evolve(schema, dict.fromkeys(schema, "d"), settings=used, rng=Random(3))
    counts = Counter(variable for changed in evolution.changed for variable in changed)
    assert evolution.over_cap == sum(max(0, times - 2) for times in counts.values()) > 0
    assert all(2 <= len(changed) <= 4 for changed in evolution.changed[1:])
    roomy = evolve(schema, dict.fromkeys(schema, "d"), settings=used.model_copy(update={"num_periods": 4}), rng=Random(3))
    assert roomy.over_cap == 0
    assert max(roomy.counts.values()) <= 2
    assert any(item.model_dump()["generation"]["changes_over_cap"] > 0 for item in generate_users(3, settings=used))


def test_the_number_of_changes_is_drawn_evenly_by_the_seed() -> None:
    items = generate_users(150, settings=BASE)
    sizes = Counter(len(period.updates) for item in items for period in item.periods[1:])
    assert all(times / sizes.total() == pytest.approx(1 / 3, abs=0.04) for times in sizes.values())


@pytest.mark.parametrize("name", ["v1.base", "v1.extra"])
def test_utterances_and_events_tell_what_they_expose_and_nothing_else(name: str) -> None:
    matcher = ValueMatcher()
    for item in generate_users(60, settings=preset(name)):
        for period in item.periods:
            for session in period.sessions:
                assert matcher.exposed(session.query) == {one: {value} for one, value in session.exposed_states.items()}
                assert matcher.hinted(session.query) == session.exposed_states.keys()
                if session.event is not None:
                    assert matcher.hinted(session.event) == session.exposed_states.keys()
            if period.period_summary is not None:
                assert matcher.hinted(period.period_summary) == period.updates.keys()


def test_options_suit_their_variant_alone(users: list[UserItem]) -> None:
    matcher = ValueMatcher()
    for question in (question for item in users for question in item.qas):
        assert not matcher.hinted(question.query)
        for choice in question.answer_choices:
            wanted = {name: {value} for name, value in zip(question.required_info, choice.state, strict=True)}
            assert matcher.advised(choice.answer) == wanted


def test_option_order_depends_on_user_and_question(users: list[UserItem]) -> None:
    orders = {
        tuple(
            question.required_info.index(name) * 3 + item.state_schema[name].index(value)
            for name, value in zip(question.required_info, question.answer_choices[0].state, strict=True)
        )
        for item in users
        for question in item.qas
    }
    assert len(orders) == 9


def test_distractors_differ_in_one_value_where_they_can(users: list[UserItem]) -> None:
    for question in (question for item in users for question in item.qas):
        lived = [choice.state for choice in question.answer_choices if choice.type == "experience"]
        for choice in question.answer_choices:
            if choice.type == "random":
                nearest = min(sum(a != b for a, b in zip(choice.state, one, strict=True)) for one in lived)
                assert nearest == 1


def test_a_user_that_cannot_be_made_fails_with_a_reason() -> None:
    with pytest.raises(InputError, match=r"num_questions is 13, but the bank has only 1[12] questions about 3"):
        generate_user(0, settings=settings_from({"num_questions": 13, "num_states_per_question": 3}))


def test_provenance_is_written_with_the_user(users: list[UserItem]) -> None:
    record = json.loads(users[2].model_dump_json())["generation"]
    assert (record["index"], record["seed"], record["settings"]) == (2, 42, BASE.fingerprint())
