"""Sessions of a user: runs of messages under a name."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from memagent.db import log
from memagent.db.log import Connection
from memagent.errors import NotFound

_TITLE = 60


class Session(BaseModel):
    """A session as lists show it."""

    model_config = ConfigDict(frozen=True)

    name: str
    messages: int
    """Messages that are not forgotten."""
    first: datetime
    last: datetime
    """Times of the oldest and the newest of them."""
    title: str
    """Start of the first message."""


def of_user(connection: Connection, user: str) -> list[Session]:
    """The sessions that hold a live message, the one last written to first."""
    rows = connection.execute(
        "SELECT s.name, count(*), min(m.time), max(m.time), min(m.seq), max(m.seq) FROM messages m"
        " JOIN sessions s ON s.id = m.session_id JOIN users u ON u.id = m.user_id"
        " WHERE u.name = ? AND m.alive = 1 GROUP BY s.id ORDER BY max(m.seq) DESC",
        (user,),
    ).fetchall()
    titles = log.read_many(connection, [row[4] for row in rows])
    return [
        Session(
            name=name,
            messages=number,
            first=datetime.fromisoformat(first),
            last=datetime.fromisoformat(last),
            title=" ".join(titles[seq].message.text.split())[:_TITLE],
        )
        for name, number, first, last, seq, _ in rows
    ]


def forget(connection: Connection, user: str, name: str) -> int:
    """Forget every message of a session. Raises `NotFound`."""
    row = log.user_id(connection, user)
    found = [] if row is None else list(log.read(connection, row, session=name))
    if row is None or not found:
        raise NotFound(f"user {user!r} has no session {name!r}; list them with `memagent sessions list`")
    for stored in found:
        assert stored.message.id is not None
        log.set_alive(connection, row, stored.message.id, False)
    return len(found)
