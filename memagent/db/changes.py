"""What happened to a user's messages since a place in the log, for whoever keeps a replica of them.

A replica remembers the event that it last applied, with a mark that only that event has. When a database was put back to an
older state, or another one stands in its place, the same place holds another event or none, and the replica is thrown away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from memagent.db import log
from memagent.db.log import Connection


class Position(NamedTuple):
    """An event of the log, by its place, and what tells it from another in that place; the default is the log's beginning."""

    seq: int = 0
    mark: bytes = b""


class Changes(NamedTuple):
    """What happened after a position."""

    position: Position
    """The newest event."""
    purged: Sequence[int]
    """Messages that are gone, by their places in the log."""
    edited: Sequence[int]
    """Messages that were given another text."""
    alive: Mapping[int, bool]
    """Messages that were deleted (False) or brought back."""


def _mark(connection: Connection, user: int, seq: int) -> bytes | None:
    row = connection.execute(
        "SELECT action, memory, item, content_id, data, at FROM events WHERE user_id = ? AND seq = ?", (user, seq)
    ).fetchone()
    return None if row is None else log.digest(*map(str, row))


def follows(connection: Connection, user: int, position: Position) -> bool:
    """Whether the user's log goes on from this position, so that what was known there still holds."""
    mark = _mark(connection, user, position.seq)
    if position.seq == 0 or mark == position.mark:
        return True
    purge = "SELECT 1 FROM events WHERE user_id = ? AND seq > ? AND action = 'purge' LIMIT 1"  # it may have taken the event
    return mark is None and connection.execute(purge, (user, position.seq)).fetchone() is not None


def since(connection: Connection, user: int, position: Position) -> Changes | None:
    """What happened after a position; None when nothing did."""
    rows = connection.execute(
        "SELECT e.seq, e.action, m.seq, m.alive, CASE e.action WHEN 'purge' THEN e.data END FROM events e"
        " LEFT JOIN messages m ON m.user_id = e.user_id AND m.id = e.item AND e.memory IS NULL"
        " WHERE e.user_id = ? AND e.seq > ? ORDER BY e.seq",
        (user, position.seq),
    ).fetchall()
    if not rows:
        return None
    purged = [seq for *_, data in rows if data for seq in json.loads(data).get("messages", ())]
    edited = dict.fromkeys(seq for _, action, seq, *_ in rows if action == "edit" and seq is not None)
    alive = {seq: bool(lives) for _, action, seq, lives, _ in rows if action in ("forget", "restore") and seq is not None}
    newest = int(rows[-1][0])
    return Changes(Position(newest, _mark(connection, user, newest) or b""), purged, list(edited), alive)
