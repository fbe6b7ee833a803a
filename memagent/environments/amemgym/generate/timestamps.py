"""When things happen: periods of whole months, and sessions on the evenings of a period's last days."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from random import Random

from memagent.errors import InputError

EARLIEST, LATEST = 19 * 3600, 22 * 3600
"""Seconds of the day between which sessions begin, both included."""
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""February has 28 days in every year, as in the official code."""


def add_months(day: date, months: int) -> date:
    """The same day so many months later, at most the last one of that month."""
    years, month = divmod(day.month - 1 + months, 12)
    return date(day.year + years, month + 1, min(day.day, _DAYS[month]))


def period_bounds(start: date, period: int, months: int) -> tuple[date, date]:
    """Start and end of an update period, counted from 1; the end is the start of the next one."""
    return add_months(start, (period - 1) * months), add_months(start, period * months)


def session_times(count: int, end: date, rng: Random, *, start: date | None = None) -> list[str]:
    """Times of so many sessions: one on each of the last days up to and including `end`, in order.

    With `start`, the sessions must fit between it and the end; raises `InputError` when they do not.
    """
    if start is not None and count > (end - start).days:
        raise InputError(f"{count} sessions do not fit in the {(end - start).days} days from {start} to {end}; take fewer")
    days = [end - timedelta(days=back) for back in range(count - 1, -1, -1)]
    begun = (datetime.combine(day, time()) + timedelta(seconds=rng.randint(EARLIEST, LATEST)) for day in days)
    return [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in begun]
