"""In which order things were told.

What is said now follows what was said before, whatever the clock shows: the order of the log. An old conversation that is
imported later comes where its own times put it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memagent.db.log import Connection, Stored

Moment = tuple[float, int]
"""Seconds since the epoch and place in the log; what was told later is greater."""
_AT_ONCE = 60
"""Seconds between saying and writing up to which both happened at once."""


class Told(NamedTuple):
    """When a message was said, and whether at another time than it was written to the log."""

    time: float
    recalled: bool


def told(connection: Connection, messages: Iterable[Stored]) -> dict[int, Told]:
    """The times of messages, by their places in the log."""
    found: dict[int, Told] = {}
    wanted = list(messages)
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        marks = ",".join("?" * len(part))
        query = f"SELECT seq, CAST(strftime('%s', at) AS INTEGER) FROM events WHERE seq IN ({marks})"
        written = dict(connection.execute(query, [one.seq for one in part]))
        for one in part:
            time = 0.0 if one.message.time is None else one.message.time.timestamp()
            elsewhere = abs(time - written.get(one.seq, time)) > _AT_ONCE
            found[one.seq] = Told(time, one.origin == "imported" or elsewhere)
    return found


def moments(messages: dict[int, Told]) -> dict[int, Moment]:
    """When messages count as told, by their places in the log."""
    found: dict[int, Moment] = {}
    latest = 0.0
    for seq in sorted(messages):
        time, recalled = messages[seq]
        if not recalled:
            time = latest = max(latest, time)
        found[seq] = (time, seq)
    return found
