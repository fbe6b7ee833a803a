"""Who consolidates: one lease per user and kind of memory, which expires, and a cursor that moves with the results.

A worker takes the lease, reads messages past the cursor, thinks outside any transaction, and commits what it derived
together with the new cursor. `advance` refuses when the lease or the cursor is no longer what the worker saw, so two
workers, or one that was presumed dead, can never store a conclusion twice.
"""

from __future__ import annotations

import time

from memagent.db.log import Connection
from memagent.errors import StoreLocked

SLACK = 10.0
"""Seconds by which clocks of processes that share a store may differ."""


def take(connection: Connection, user: int, memory: str, *, owner: str, seconds: float) -> bool:
    """Take or renew the lease. False while another owner's lasts.

    One that ends later than any that is taken now was taken by another clock, which was set back since: it is stale.
    """
    moment = time.time()
    cursor = connection.execute(
        "INSERT INTO leases VALUES (?, ?, ?, ?) ON CONFLICT (user_id, memory) DO UPDATE"
        " SET owner = excluded.owner, expires = excluded.expires"
        " WHERE leases.owner = excluded.owner OR leases.expires < ? OR leases.expires > ?",
        (user, memory, owner, moment + seconds, moment, moment + seconds + SLACK),
    )
    return cursor.rowcount == 1


def release(connection: Connection, user: int, memory: str, *, owner: str) -> None:
    """Give the lease back if it is still this owner's."""
    connection.execute("DELETE FROM leases WHERE user_id = ? AND memory = ? AND owner = ?", (user, memory, owner))


def position(connection: Connection, user: int, memory: str) -> int:
    """Place in the log up to which messages are consolidated."""
    row = connection.execute("SELECT seq FROM cursors WHERE user_id = ? AND memory = ?", (user, memory)).fetchone()
    return 0 if row is None else int(row[0])


def advance(connection: Connection, user: int, memory: str, *, owner: str, before: int, after: int) -> None:
    """Move the cursor, inside the transaction that stores what was derived. Raises `StoreLocked` when overtaken."""
    held = connection.execute("SELECT owner FROM leases WHERE user_id = ? AND memory = ?", (user, memory)).fetchone()
    if held is None or held[0] != owner or position(connection, user, memory) != before:
        raise StoreLocked(f"another process took over consolidating {memory!r}; its results are stored, call consolidate again")
    connection.execute(
        "INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT (user_id, memory) DO UPDATE SET seq = excluded.seq",
        (user, memory, after),
    )
