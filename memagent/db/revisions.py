"""Derived items and their history: notes, sheet lines, drafts.

An item is a series of revisions; nothing is overwritten. Each names the messages it rests on. What is shown of an item is
its newest revision none of whose messages is forgotten: forgetting a message takes back whatever was concluded from it,
and restoring the message brings the conclusion back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memagent.db import log
from memagent.db.ids import meant, new_id
from memagent.db.log import Connection
from memagent.errors import NotFound
from memagent.types import now

Action = Literal["add", "update", "delete", "none"]
RevisionOrigin = Literal["distilled", "user"]


@dataclass(frozen=True)
class Revision:
    """One state of one derived item."""

    id: int
    item: str
    action: Action
    text: str
    data: Mapping[str, object]
    """What the kind of memory keeps beside the text (label, tier, validity ...)."""
    reason: str
    origin: RevisionOrigin
    at: datetime
    session: str | None
    sources: tuple[int, ...]
    """Places in the log of the messages it rests on."""
    dead: bool
    """Whether one of these messages is forgotten or purged, or was edited after this revision."""


def append(
    connection: Connection,
    user: int,
    memory: str,
    *,
    item: str | None,
    action: Action,
    text: str,
    data: Mapping[str, object],
    reason: str,
    origin: RevisionOrigin,
    sources: Iterable[int],
    session_id: int | None = None,
    logged: bool = True,
) -> str:
    """Write a revision; a new item (`item` None) gets an id.

    A user's own change is put in the event log too, so that `undo` finds it, unless it is not `logged`: what a user adds is
    undone with the message that says it.
    """
    content = log.put_content(connection, "text", text)
    body = json.dumps(dict(data), ensure_ascii=False)
    known = log.last_seq(connection, user)
    values = (user, session_id, memory, item or "", action, content, body, reason, origin, now().isoformat(), known)
    cursor = connection.execute(
        "INSERT INTO revisions (user_id, session_id, memory, item, action, content_id, data, reason, origin, at, seq)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    number = int(cursor.lastrowid or 0)
    if item is None:
        item = new_id(connection, "d" if memory.startswith("m") else memory[0], number)  # m is for messages
        connection.execute("UPDATE revisions SET item = ? WHERE id = ?", (item, number))
    connection.executemany("INSERT OR IGNORE INTO revision_sources VALUES (?, ?)", [(number, seq) for seq in sources])
    if origin == "user" and logged:
        log.note_event(connection, user, "revise", item, memory=memory, data={"revision": number})
    return item


_SELECT = (
    "SELECT r.id, r.item, r.action, c.body, r.data, r.reason, r.origin, r.at, s.name,"
    " (SELECT group_concat(seq) FROM revision_sources WHERE revision_id = r.id),"
    " EXISTS (SELECT 1 FROM revision_sources x JOIN messages m ON m.seq = x.seq"
    "         WHERE x.revision_id = r.id AND (m.alive = 0 OR EXISTS (SELECT 1 FROM events e WHERE e.user_id = m.user_id"
    "         AND e.item = m.id AND e.action = 'edit' AND e.seq > r.seq)))"
    " FROM revisions r JOIN contents c ON c.id = r.content_id LEFT JOIN sessions s ON s.id = r.session_id"
)


def _revision(
    row: tuple[int, str, Action, str, str, str, RevisionOrigin, str, str | None, str | None, int],
) -> Revision:
    number, item, action, text, data, reason, origin, at, session, sources, dead = row
    seqs = tuple(sorted(int(seq) for seq in sources.split(","))) if sources else ()
    known = json.loads(data)
    return Revision(
        number,
        item,
        action,
        text,
        known,
        reason,
        origin,
        log.moment(at),
        session,
        seqs,
        bool(dead or known.get("purged")),
    )


def of_memory(connection: Connection, user: int, memory: str) -> list[Revision]:
    """Every revision of a kind of memory, oldest first."""
    query = f"{_SELECT} WHERE r.user_id = ? AND r.memory = ? ORDER BY r.id"
    return [_revision(row) for row in connection.execute(query, (user, memory))]


def touched(connection: Connection, user: int, memory: str) -> list[Revision]:
    """Every revision of the items that the user wrote, changed or deleted, oldest first."""
    query = (
        f"{_SELECT} WHERE r.user_id = ? AND r.memory = ? AND r.item IN"
        " (SELECT item FROM revisions WHERE user_id = ? AND memory = ? AND origin = 'user') ORDER BY r.id"
    )
    return [_revision(row) for row in connection.execute(query, (user, memory, user, memory))]


def of_item(connection: Connection, user: int, memory: str, item: str) -> list[Revision]:
    """Every revision of one item, by its id or an id's beginning, oldest first; none for what cannot be one."""
    if not log.is_storable(item):
        return []

    def between(start: str, end: str) -> list[str]:
        query = "SELECT DISTINCT item FROM revisions WHERE user_id = ? AND memory = ? AND item >= ? AND item < ? LIMIT 6"
        return [str(row[0]) for row in connection.execute(query, (user, memory, start, end))]

    def whole(name: str) -> list[Revision]:
        query = f"{_SELECT} WHERE r.user_id = ? AND r.memory = ? AND r.item = ? ORDER BY r.id"
        return [_revision(row) for row in connection.execute(query, (user, memory, name))]

    found = whole(item)
    return found or ([] if (name := meant(item, between)) is None else whole(name))


def visible(revisions: Iterable[Revision]) -> dict[str, Revision]:
    """The state of each item that is to be seen now, by item, in the order of the items' first revisions."""
    newest: dict[str, Revision] = {}
    for revision in revisions:
        if revision.action != "none" and not revision.dead:
            newest[revision.item] = revision
    return {item: revision for item, revision in newest.items() if revision.action != "delete"}


def current(connection: Connection, user: int, memory: str) -> dict[str, Revision]:
    """The items of a kind of memory as they are to be seen now."""
    return visible(of_memory(connection, user, memory))


def version(connection: Connection, user: int, memory: str) -> tuple[int, int]:
    """Changes whenever `current` may: for caches."""
    row = connection.execute(
        "SELECT coalesce(max(id), 0), count(*) FROM revisions WHERE user_id = ? AND memory = ?", (user, memory)
    ).fetchone()
    return int(row[0]) * 1_000_003 + int(row[1]), log.last_seq(connection, user)


def revert(connection: Connection, user: int, memory: str, number: int) -> str:
    """Take back revision `number`: its item gets the state before it. Returns the item."""
    row = connection.execute("SELECT item FROM revisions WHERE user_id = ? AND id = ?", (user, number)).fetchone()
    if row is None:
        raise NotFound("the last change cannot be taken back: what it changed is gone for good")
    item = str(row[0])
    before = [one for one in of_item(connection, user, memory, item) if one.id < number and one.action != "none"]
    last = before[-1] if before else None
    session = (
        None if last is None else connection.execute("SELECT session_id FROM revisions WHERE id = ?", (last.id,)).fetchone()[0]
    )
    append(
        connection,
        user,
        memory,
        item=item,
        action="delete" if last is None else ("delete" if last.action == "delete" else "update"),
        text="" if last is None else last.text,
        data={} if last is None else last.data,
        reason="undo",
        origin="distilled" if last is None else last.origin,
        sources=() if last is None else last.sources,
        session_id=session,
    )
    return item


def drop_of_messages(connection: Connection, user: int, seqs: Iterable[int]) -> list[str]:
    """Erase the revisions that rest on these messages. Returns their texts.

    An empty revision stays in the place of each as long as its item rests on other messages: it tells that those may have lost
    the text that spoke for them. Reasons are erased from the whole item, because a model may have put into one what
    another revision says.
    """
    texts: list[str] = []
    content = log.put_content(connection, "text", "")
    for seq in seqs:
        rows = connection.execute(
            "SELECT r.id, r.memory, r.item, c.body FROM revisions r JOIN revision_sources x ON x.revision_id = r.id"
            " JOIN contents c ON c.id = r.content_id WHERE r.user_id = ? AND x.seq = ?",
            (user, seq),
        ).fetchall()
        for number, memory, item, text in rows:
            texts.append(str(text))
            connection.execute("DELETE FROM revision_sources WHERE revision_id = ? AND seq = ?", (number, seq))
            connection.execute(
                "UPDATE revisions SET action = 'none', content_id = ?, data = '{\"purged\": true}' WHERE id = ?",
                (content, number),
            )
            _forget_reasons(connection, (user, memory, item))
    return texts


def _forget_reasons(connection: Connection, item: tuple[int, str, str]) -> None:
    """Erase the reasons of an item, and the item when it rests on no message and the user said nothing about it."""
    where = "WHERE user_id = ? AND memory = ? AND item = ?"
    connection.execute(f"UPDATE revisions SET reason = '' {where}", item)
    held = f"SELECT 1 FROM revisions {where} AND (action != 'none' OR id IN (SELECT revision_id FROM revision_sources))"
    if connection.execute(held, item).fetchone() is None:
        connection.execute(f"DELETE FROM revisions {where}", item)


def drop_distilled(connection: Connection, user: int, memory: str) -> None:
    """Throw away what was distilled, and start distilling from the log's beginning. Items that the user changed stay."""
    connection.execute(
        "DELETE FROM revisions WHERE user_id = ? AND memory = ? AND item NOT IN"
        " (SELECT item FROM revisions WHERE user_id = ? AND memory = ? AND origin = 'user')",
        (user, memory, user, memory),
    )
    connection.execute("DELETE FROM cursors WHERE user_id = ? AND memory = ?", (user, memory))


def drop(connection: Connection, user: int, numbers: Iterable[int]) -> None:
    """Delete revisions by their ids, texts that nothing else names included."""
    doomed = [(user, number) for number in numbers]
    if doomed:
        connection.executemany("DELETE FROM revisions WHERE user_id = ? AND id = ?", doomed)
        log.drop_unused_contents(connection)
