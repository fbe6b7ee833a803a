"""Sessions of a user: runs of messages under a name."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from memagent.db import erasure, log
from memagent.db.log import Connection
from memagent.errors import NotFound
from memagent.types import Message

_TITLE = 60


class Session(BaseModel):
    """A session as `Store.sessions` lists it, with its size and times."""

    model_config = ConfigDict(frozen=True)

    name: str
    messages: int
    """Messages that are not deleted."""
    first: datetime
    last: datetime
    """Times of the first and the last of them, in the order of the log."""
    title: str
    """Start of the first message."""


def of_user(connection: Connection, user: str) -> list[Session]:
    """The sessions that hold a live message, the one last written to first."""
    row = log.user_id(connection, user)
    if row is None:
        return []
    rows = connection.execute(
        "SELECT s.name, count(*), min(m.seq), max(m.seq) FROM messages m"
        " JOIN sessions s ON s.id = m.session_id"
        " WHERE m.user_id = ? AND m.alive = 1 GROUP BY s.id ORDER BY max(m.seq) DESC",
        (row,),
    ).fetchall()
    ends = log.read_many(connection, row, {seq for one in rows for seq in one[2:]})
    return [_session(name, number, ends[first].message, ends[last].message) for name, number, first, last in rows]


def _session(name: str, messages: int, first: Message, last: Message) -> Session:
    assert first.time is not None
    assert last.time is not None
    title = " ".join(first.text.split())[:_TITLE]
    return Session(name=name, messages=messages, first=first.time, last=last.time, title=title)


def delete(connection: Connection, user: str, name: str) -> int:
    """Hide every message of a session. Returns how many. Raises `NotFound`."""
    row, found = _messages(connection, user, name, with_dead=False)
    for stored in found:
        log.set_alive(connection, row, str(stored.message.id), False)
    return len(found)


def purge(connection: Connection, user: str, name: str) -> tuple[int, list[str]]:
    """Erase a session's messages, hidden ones included, and everything derived from them. Raises `NotFound`.

    Returns the number of messages and the texts that are gone.
    """
    row, found = _messages(connection, user, name, with_dead=True)
    texts = erasure.messages(connection, row, found)
    connection.execute("DELETE FROM sessions WHERE user_id = ? AND name = ?", (row, name))
    return len(found), texts


def _messages(connection: Connection, user: str, name: str, *, with_dead: bool) -> tuple[int, list[log.Stored]]:
    row = log.user_id(connection, user)
    found = [] if row is None else list(log.read(connection, row, session=name, with_dead=with_dead))
    if row is None or not found:
        raise NotFound(f"user {user!r} has no session {name!r}; list them with `memagent sessions list`")
    return row, found
