"""Conversations: when they are, and that they tell what they should and no more."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from random import Random

import pytest
from helpers.slow import slow
from hypothesis import given
from hypothesis import strategies as st

from memagent.environments.amemgym.generate import ValueMatcher, generate_users, preset
from memagent.environments.amemgym.generate.sessions import add_months, session_times
from memagent.errors import InputError


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


def test_sessions_take_the_last_evenings_of_their_period() -> None:
    users = generate_users(20, settings=preset("v1.base"))
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


@pytest.mark.parametrize("name", ["v1.base", slow("v1.extra")])
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
