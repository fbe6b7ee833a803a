"""What happened to items: reading it, and taking it back."""

from __future__ import annotations

import json

from memagent.db import log, revisions
from memagent.db.log import Connection
from memagent.errors import NotFound
from memagent.types import HistoryEntry, WriteResult

_UNDOABLE = """
SELECT seq, action, memory, item, data FROM events
WHERE user_id = :user AND (memory IS NULL OR memory = :memory)
  AND (action IN ('edit', 'forget', 'revise') OR (action = 'observe' AND json_extract(data, '$.origin') = 'added'))
  AND json_extract(data, '$.undoes') IS NULL
  AND seq NOT IN (SELECT json_extract(data, '$.undoes') FROM events
                  WHERE user_id = :user AND json_extract(data, '$.undoes') IS NOT NULL)
ORDER BY seq DESC LIMIT 1
"""


def undo(connection: Connection, user: int, memory: str) -> tuple[WriteResult, int]:
    """Take back the user's newest change that still counts. Returns what became of the item, and the event's place."""
    row = connection.execute(_UNDOABLE, {"user": user, "memory": memory}).fetchone()
    if row is None:
        raise NotFound("there is nothing to undo")
    undoes, action, kind, item, data = int(row[0]), row[1], row[2], str(row[3]), json.loads(row[4] or "{}")
    if action == "forget":
        return WriteResult(id=item, action="restored"), log.set_alive(connection, user, item, True, undoes=undoes)
    if action == "observe":
        return WriteResult(id=item, action="removed"), log.set_alive(connection, user, item, False, undoes=undoes)
    if action == "edit":
        seq = log.set_content(connection, user, item, int(data["before"]), undoes=undoes)
        return WriteResult(id=item, action="restored"), seq
    revisions.revert(connection, user, kind, int(data["revision"]))
    seq = log.note_event(connection, user, "restore", item, memory=kind, data={"undoes": undoes})
    return WriteResult(id=item, action="restored"), seq


_VERBS = {"observe": "add", "edit": "update", "forget": "delete"}
"""The schema's words for what the verbs of a memory do; `restore` and the actions of revisions are the same in both."""


def changes(connection: Connection, user: int, item: str | None) -> list[HistoryEntry]:
    """Events of one message, or of all, oldest first."""
    rows = connection.execute(
        "SELECT e.item, e.action, e.at, c.body, e.data, s.name FROM events e LEFT JOIN contents c ON c.id = e.content_id"
        " LEFT JOIN sessions s ON s.id = e.session_id"
        " WHERE e.user_id = :user AND e.memory IS NULL AND e.action != 'purge' AND (:item IS NULL OR e.item = :item)"
        " ORDER BY e.seq",
        {"user": user, "item": item},
    )
    entries = []
    for name, action, at, text, data, session in rows:
        details = json.loads(data or "{}")
        entries.append(
            HistoryEntry(
                id=name,
                action=_VERBS.get(action, action),
                at=log.moment(at),
                text=text,
                reason="undo" if "undoes" in details else "",
                origin=details.get("origin", "user"),
                session=session,
            )
        )
    return entries


def revision_changes(found: list[revisions.Revision]) -> list[HistoryEntry]:
    return [
        HistoryEntry(
            id=one.item,
            action=one.action,
            at=one.at,
            text=None if one.action == "delete" else one.text,
            reason=one.reason,
            origin=one.origin,
            session=one.session,
        )
        for one in found
    ]


def counts(connection: Connection, name: str) -> dict[str, int]:
    """Numbers of messages, deleted ones, sessions, vectors and characters of a user."""
    user = log.user_id(connection, name) or 0
    one = connection.execute(
        "SELECT coalesce(sum(m.alive), 0), coalesce(sum(1 - m.alive), 0), coalesce(sum(length(c.body) * m.alive), 0)"
        " FROM messages m JOIN contents c ON c.id = m.content_id WHERE m.user_id = ?",
        (user,),
    ).fetchone()
    sessions = connection.execute("SELECT count(*) FROM sessions WHERE user_id = ?", (user,)).fetchone()[0]
    vectors = connection.execute("SELECT count(*) FROM vectors WHERE user_id = ?", (user,)).fetchone()[0]
    return {
        "messages": int(one[0]),
        "deleted": int(one[1]),
        "characters": int(one[2]),
        "sessions": int(sessions),
        "vectors": int(vectors),
    }
