"""Sessions of a user: runs of messages under a name."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from memagent.db import erasure, log
from memagent.db.log import Connection
from memagent.errors import NotFound

_TITLE = 60


class Session(BaseModel):
    """A session as `Store.sessions` lists it, with its size and times."""

    model_config = ConfigDict(frozen=True)

    name: str
    messages: int
    """Messages that are not deleted."""
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


def delete(connection: Connection, user: str, name: str) -> int:
    """Hide every message of a session. Returns how many. Raises `NotFound`."""
    row, found = _messages(connection, user, name, with_dead=False)
    for stored in found:
        log.set_alive(connection, row, str(stored.message.id), False)
    return len(found)


def purge(connection: Connection, user: str, name: str) -> tuple[int, int, list[str]]:
    """Erase a session's messages, hidden ones included, and everything derived from them. Raises `NotFound`.

    Returns the user's row, the number of messages and the texts that are gone.
    """
    row, found = _messages(connection, user, name, with_dead=True)
    texts = erasure.messages(connection, row, found)
    connection.execute("DELETE FROM sessions WHERE user_id = ? AND name = ?", (row, name))
    return row, len(found), texts


def _messages(connection: Connection, user: str, name: str, *, with_dead: bool) -> tuple[int, list[log.Stored]]:
    row = log.user_id(connection, user)
    found = [] if row is None else list(log.read(connection, row, session=name, with_dead=with_dead))
    if row is None or not found:
        raise NotFound(f"user {user!r} has no session {name!r}; list them with `memagent sessions list`")
    return row, found
