"""Date expressions of a text, resolved to intervals of days."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from memagent.text.dates import DateInterval, date_intervals, days_told, nearness

WEDNESDAY = datetime(2026, 11, 25, 12)


def resolved(text: str, now: datetime = WEDNESDAY) -> list[str]:
    return [str(one.start) if one.days == 1 else f"{one.start}..{one.end}" for one in date_intervals(text, now=now)]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Where did I go on 28 October?", "2026-10-28"),
        ("where did i go on oct 28th", "2026-10-28"),
        ("October 28, 2025", "2025-10-28"),
        ("on the 28th of October 2025", "2025-10-28"),
        ("28.10.2025", "2025-10-28"),
        ("2025-10-28", "2025-10-28"),
        ("10/28/2025", "2025-10-28"),
        ("28/10/25", "2025-10-28"),
        ("What happened in june?", "2026-06-01..2026-06-30"),
        ("June 2024", "2024-06-01..2024-06-30"),
        ("in may 2024", "2024-05-01..2024-05-31"),
        ("2024-05", "2024-05-01..2024-05-31"),
        ("last March", "2026-03-01..2026-03-31"),
        ("June last year", "2025-06-01..2025-06-30"),
        ("in 2024", "2024-01-01..2024-12-31"),
        ("today", "2026-11-25"),
        ("yesterday", "2026-11-24"),
        ("last night", "2026-11-24"),
        ("the day before yesterday", "2026-11-23"),
        ("tomorrow", "2026-11-26"),
        ("the day after tomorrow", "2026-11-27"),
        ("last week", "2026-11-16..2026-11-22"),
        ("this week", "2026-11-23..2026-11-29"),
        ("the week before last", "2026-11-09..2026-11-15"),
        ("next month", "2026-12-01..2026-12-31"),
        ("last year", "2025-01-01..2025-12-31"),
        ("last weekend", "2026-11-21..2026-11-22"),
        ("Where was I on Monday?", "2026-11-23"),
        ("last Friday", "2026-11-20"),
        ("this Friday", "2026-11-27"),
        ("What will I do on Friday?", "2026-11-27"),
        ("last week on Tuesday", "2026-11-17"),
        ("three days ago", "2026-11-22"),
        ("a couple of days ago", "2026-11-23"),
        ("2 weeks ago", "2026-11-08..2026-11-14"),
        ("four months ago", "2026-07-01..2026-07-31"),
        ("in twenty days", "2026-12-15"),
        ("in the past three weeks", "2026-11-01..2026-11-25"),
        ("since Monday", "2026-11-23..2026-11-25"),
        ("last summer", "2026-06-01..2026-08-31"),
        ("in the winter of 2024", "2024-12-01..2025-02-28"),
        ("between 3 May and 9 May 2025", "2025-05-03..2025-05-09"),
        ("3-9 May 2025", "2025-05-03..2025-05-09"),
        ("between 3 and 9 May 2025", "2025-05-03..2025-05-09"),
        ("between the 3rd and the 9th of May 2025", "2025-05-03..2025-05-09"),
        ("last year at Christmas", "2025-12-24..2025-12-26"),
    ],
)
def test_an_english_expression_is_an_interval_of_days(text: str, days: str) -> None:
    assert resolved(text) == [days]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Was habe ich letzte Woche gemacht?", "2026-11-16..2026-11-22"),
        ("vorgestern", "2026-11-23"),
        ("vor drei Tagen", "2026-11-22"),
        ("am 12. Oktober 2025", "2025-10-12"),
        ("letzten Montag", "2026-11-23"),
        ("zwischen dem 3. und dem 9. Mai 2025", "2025-05-03..2025-05-09"),
        ("entre el 3 y el 9 de mayo de 2025", "2025-05-03..2025-05-09"),
        ("tra il 3 e il 9 maggio 2025", "2025-05-03..2025-05-09"),
        ("letzten Sommer", "2026-06-01..2026-08-31"),
        ("Où étais-je la semaine dernière ?", "2026-11-16..2026-11-22"),
        ("avant-hier", "2026-11-23"),
        ("il y a trois jours", "2026-11-22"),
        ("le 1er août 2024", "2024-08-01"),
        ("mardi dernier", "2026-11-24"),
        ("¿Dónde estuve la semana pasada?", "2026-11-16..2026-11-22"),
        ("anteayer", "2026-11-23"),
        ("hace dos semanas", "2026-11-08..2026-11-14"),
        ("el 12 de octubre de 2025", "2025-10-12"),
        ("La settimana scorsa", "2026-11-16..2026-11-22"),
        ("tre giorni fa", "2026-11-22"),
        ("il 12 ottobre 2025", "2025-10-12"),
        ("na semana passada", "2026-11-16..2026-11-22"),
        ("há três dias", "2026-11-22"),
        ("12 de outubro de 2024", "2024-10-12"),
        ("我昨天去哪儿了", "2026-11-24"),
        ("上周三", "2026-11-18"),
        ("上个月", "2026-10-01..2026-10-31"),
        ("三天前", "2026-11-22"),
        ("去年十月", "2025-10-01..2025-10-31"),
        ("2025年10月28日", "2025-10-28"),
        ("十二天前", "2026-11-13"),
        ("昨日どこへ行きましたか", "2026-11-24"),
        ("先週の月曜日", "2026-11-16"),
        ("3日前", "2026-11-22"),
        ("一昨日", "2026-11-23"),
        ("去年の夏", "2025-06-01..2025-08-31"),
        ("２０２５年１０月２８日", "2025-10-28"),
    ],
)
def test_other_languages_name_the_same_days(text: str, days: str) -> None:
    assert resolved(text) == [days]


@pytest.mark.parametrize(
    "text",
    [
        "It may rain and we march on; this may be it.",
        "Guten Morgen! Por la mañana.",
        "I see a man in a fall.",
        "我去日本。我去天安门。过生日",
        "ten people, 5 dogs, version 3.10.2",
        "quarter past 3",
        "31 February 2025",
        "",
    ],
)
def test_words_that_are_no_date_name_no_day(text: str) -> None:
    assert resolved(text) == []


def test_without_a_tense_both_sides_of_today_are_meant() -> None:
    assert resolved("on Monday") == ["2026-11-23", "2026-11-30"]
    assert resolved("28 October") == ["2026-10-28", "2027-10-28"]
    assert resolved("It is 25 November.")[0] == "2026-11-25"
    assert resolved("on Wednesday") == ["2026-11-18", "2026-12-02"]
    assert resolved("5/6/2025") == ["2025-06-05", "2025-05-06"]


@pytest.mark.parametrize("sunday_or_monday", [datetime(2026, 11, 29, 23, 59), datetime(2026, 11, 30)])
def test_last_week_ends_with_the_last_sunday_before_this_week(sunday_or_monday: datetime) -> None:
    (week,) = date_intervals("last week", now=sunday_or_monday)
    assert week.start.weekday() == 0
    assert 1 <= (sunday_or_monday.date() - week.end).days <= 7


def test_a_year_at_the_edge_of_the_calendar_names_no_day() -> None:
    assert resolved("a thousand years ago, yesterday", datetime(1, 1, 1)) == []


def test_a_long_text_of_separators_is_read_at_once() -> None:
    begun = time.perf_counter()
    resolved("Monday" + ", " * 1500 + "June" + " the" * 200)
    assert time.perf_counter() - begun < 2


def test_nearness_falls_after_an_interval_and_twice_as_fast_before_it() -> None:
    week = DateInterval(date(2026, 11, 16), date(2026, 11, 22))
    days = np.array([date(2026, 11, day).toordinal() for day in (16, 22, 29, 9)])
    assert nearness([week], days, days) == pytest.approx([1, 1, np.exp(-1), np.exp(-2)])


def test_nearness_of_a_stretch_of_days_is_that_of_its_nearest_day() -> None:
    day = DateInterval(date(2026, 11, 20), date(2026, 11, 20))
    assert nearness([day], [date(2026, 11, 1).toordinal()], [date(2026, 11, 25).toordinal()]) == pytest.approx([1])


def test_nearness_to_long_intervals_counts_little_and_to_very_long_ones_nothing() -> None:
    at = [date(2025, 6, 1).toordinal()]
    assert nearness([DateInterval(date(2025, 1, 1), date(2025, 12, 31))], at, at) == pytest.approx([0.3])
    assert nearness([DateInterval(date(2024, 1, 1), date(2025, 12, 31))], at, at) == [0]


def test_a_text_tells_of_the_day_it_was_said_and_of_the_days_it_names() -> None:
    said = datetime(2026, 5, 2, 8)
    told = days_told("The dentist is tomorrow; the year 2026 was long.", said)
    assert told == (DateInterval(said.date(), said.date()), DateInterval(date(2026, 5, 3), date(2026, 5, 3)))


def test_two_clocks_at_one_moment_tell_of_two_days() -> None:
    evening = datetime(2026, 5, 1, 23, tzinfo=UTC)
    morning = evening.astimezone(timezone(timedelta(hours=9)))
    assert evening == morning
    text = "The lighthouse opens tomorrow."
    assert [one.start.day for one in days_told(text, evening)] == [1, 2]
    assert [one.start.day for one in days_told(text, morning)] == [2, 3]
