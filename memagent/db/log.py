"""The event log: what was said, and what was done to it.

Functions here take an open connection, so that a caller decides what makes one transaction. `append` writes messages,
`change` writes everything that happens to them later. Nothing here knows about models, vectors or views.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from memagent.db.ids import meant, new_id
from memagent.errors import InputError, NotFound, StoreCorrupt
from memagent.types import Message, Part, now

Connection = sqlite3.Connection
Origin = Literal["said", "added", "imported", "partial"]
Outcome = Literal["added", "skipped", "superseded", "restored"]
MAX_MESSAGE_BYTES = 4_000_000
"""Largest content of one message, in bytes of UTF-8 (pictures in base64 included)."""

_PARTS: TypeAdapter[tuple[Part, ...]] = TypeAdapter(tuple[Part, ...])
_JOINER = re.compile("(?<=[^\x00-\x7f\u200c\u200d])[\u200c\u200d](?=[^\x00-\x7f\u200c\u200d])")


@dataclass(frozen=True)
class Stored:
    """A message as the log holds it."""

    seq: int
    """Place in the log; grows with time of writing, across all users of a store."""
    session: str
    message: Message
    """Complete: id and time are set."""
    origin: Origin
    alive: bool
    """False after `delete`."""


class Appended(NamedTuple):
    """What became of one message handed to `append`."""

    seq: int
    id: str
    action: Outcome
    """`skipped`: the same message, by id, was there already."""


def digest(*fields: str) -> bytes:
    """BLAKE2b-128 of the fields, unambiguous about where one ends."""
    hasher = hashlib.blake2b(digest_size=16)
    for text in fields:
        raw = text.encode("utf-8", "surrogatepass")
        hasher.update(len(raw).to_bytes(8, "big"))
        hasher.update(raw)
    return hasher.digest()


def user_id(connection: Connection, name: str) -> int | None:
    """The row of a user, None if nothing was ever written for it."""
    row = connection.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def ensure_user(connection: Connection, name: str) -> int:
    """The row of a user, made if need be."""
    found = user_id(connection, name)
    if found is not None:
        return found
    cursor = connection.execute("INSERT INTO users (name, created_at) VALUES (?, ?)", (name, now().isoformat()))
    return int(cursor.lastrowid or 0)


def ensure_session(connection: Connection, user: int, name: str) -> int:
    """The row of a session of this user, made if need be."""
    row = connection.execute("SELECT id FROM sessions WHERE user_id = ? AND name = ?", (user, name)).fetchone()
    if row is not None:
        return int(row[0])
    values = (user, name, now().isoformat())
    cursor = connection.execute("INSERT INTO sessions (user_id, name, created_at) VALUES (?, ?, ?)", values)
    return int(cursor.lastrowid or 0)


def put_content(connection: Connection, form: str, body: str) -> int:
    """The row of a content, stored once however often it is said."""
    key = digest(form, body)
    row = connection.execute("SELECT id FROM contents WHERE digest = ?", (key,)).fetchone()
    if row is not None:
        return int(row[0])
    cursor = connection.execute("INSERT INTO contents (digest, form, body) VALUES (?, ?, ?)", (key, form, body))
    return int(cursor.lastrowid or 0)


def encode(message: Message) -> tuple[str, str]:
    """Form and body of a message's content. Raises `InputError` when it is too large or not valid Unicode."""
    if isinstance(message.content, str):
        form, body = "text", message.content
    else:
        form, body = "parts", _PARTS.dump_json(message.content).decode("utf-8")
    for text in (body, message.id or "", message.speaker or ""):
        check_text(text)
    return form, body


def is_storable(text: object) -> bool:
    """Whether this is a string that the database can hold: valid Unicode."""
    try:
        return isinstance(text, str) and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def is_name(text: str) -> bool:
    """Whether this can name a user, a session or a kind: 1 to 200 printable characters, not all of them blank.

    The joiners that nobody sees count where they are written, between letters of Persian or Hindi and parts of emoji.
    """
    return 0 < len(text) <= 200 and bool(text.strip()) and _JOINER.sub("", text).isprintable()


def check_text(body: str) -> None:
    """Raise `InputError` for text that is not valid Unicode or longer than a message may be."""
    if not isinstance(body, str):
        raise InputError(f"a text is a string, not {type(body).__name__}")
    try:
        size = len(body.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds a lone surrogate at character {error.start}; decode it with errors='replace' first"
        ) from None
    if size > MAX_MESSAGE_BYTES:
        raise InputError(
            f"a message of {size:,} bytes is over the limit of {MAX_MESSAGE_BYTES:,}; split it, or use `memagent import`"
        )


def decode(form: str, body: str) -> str | tuple[Part, ...]:
    """The content that `encode` took apart."""
    return body if form == "text" else _PARTS.validate_json(body)


def moment(text: str) -> datetime:
    """A time as the database holds it. Raises `StoreCorrupt` for what is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise StoreCorrupt(f"the store is damaged: {text!r} is no time; restore a copy of it") from None


def append(connection: Connection, user: int, session: int, messages: Sequence[Message], *, origin: Origin) -> list[Appended]:
    """Write messages at the end of the log, in order.

    A message with an id that this user has already is skipped when role and content agree. Raises `InputError` when
    they do not.
    """
    return [_append_one(connection, user, session, message, origin) for message in messages]


def _append_one(connection: Connection, user: int, session: int, message: Message, origin: Origin) -> Appended:
    form, body = encode(message)
    if message.id is not None:
        known = _known(connection, user, message, form, body)
        if known is not None:
            return known
    at = now()
    time = (message.time or at).isoformat()
    data = {"role": message.role, "speaker": message.speaker, "time": time, "origin": origin}
    content = put_content(connection, form, body)
    values = (user, session, message.id or "", content, json.dumps(data, ensure_ascii=False), at.isoformat())
    cursor = connection.execute(
        "INSERT INTO events (user_id, session_id, action, item, content_id, data, at) VALUES (?, ?, 'observe', ?, ?, ?, ?)",
        values,
    )
    seq = int(cursor.lastrowid or 0)
    name = message.id
    if name is None:
        name = new_id(connection, "m", seq)
        while with_id(connection, user, name) is not None:  # it came from a copy of this store
            name += "x"
        connection.execute("UPDATE events SET item = ? WHERE seq = ?", (name, seq))
    connection.execute(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
        (seq, user, session, name, message.role, message.speaker, time, origin, content),
    )
    return Appended(seq, name, "added")


def _known(connection: Connection, user: int, message: Message, form: str, body: str) -> Appended | None:
    row = connection.execute(
        "SELECT m.seq, m.role, c.form, c.body FROM messages m JOIN events e ON e.seq = m.seq"
        " JOIN contents c ON c.id = e.content_id WHERE m.user_id = ? AND m.id = ?",
        (user, message.id),
    ).fetchone()
    if row is None:
        return None
    if (row[1], row[2], row[3]) != (message.role, form, body):
        raise InputError(f"message id {message.id!r} is taken by another message; give a new id, or none, or use `update`")
    return Appended(int(row[0]), str(message.id), "skipped")


_SELECT = (
    "SELECT m.seq, s.name, m.id, m.role, m.speaker, m.time, m.origin, m.alive, c.form, c.body"
    " FROM messages m JOIN sessions s ON s.id = m.session_id JOIN contents c ON c.id = m.content_id"
)


def _stored(row: tuple[int, str, str, str, str | None, str, str, int, str, str]) -> Stored:
    seq, session, name, role, speaker, time, origin, alive, form, body = row
    try:
        content = decode(form, body)
    except ValidationError:
        raise StoreCorrupt(f"the store is damaged: message {name!r} cannot be read; restore a copy of it") from None
    message = Message.model_construct(  # was validated when it was written
        role=role, content=content, time=moment(time), id=name, speaker=speaker
    )
    return Stored(seq, session, message, origin, bool(alive))  # type: ignore[arg-type]


def read(
    connection: Connection,
    user: int,
    *,
    after: int = 0,
    session: str | None = None,
    with_dead: bool = False,
    newest_first: bool = False,
    limit: int | None = None,
) -> Iterator[Stored]:
    """Messages of a user in the order of the log. Read the iterator to its end before writing."""
    where, values = ["m.user_id = ?", "m.seq > ?"], [user, after]
    if not with_dead:
        where.append("m.alive = 1")
    parameters: list[int | str] = list(values)
    if session is not None:
        where.append("s.name = ?")
        parameters.append(session)
    order = "DESC" if newest_first else "ASC"
    query = f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY m.seq {order} LIMIT ?"
    most = -1 if limit is None else min(limit, 2**63 - 1)
    yield from map(_stored, connection.execute(query, (*parameters, most)))


def count(connection: Connection, user: int, *, session: str | None = None, exclude: Collection[str] = ()) -> int:
    """Number of live messages of a user, or of one session, those with the ids in `exclude` left out."""
    where, values = "m.user_id = ? AND m.alive = 1", [user, *exclude]
    if exclude:
        where += f" AND m.id NOT IN ({','.join('?' * len(exclude))})"
    if session is not None:
        where += " AND m.session_id IN (SELECT id FROM sessions WHERE name = ?)"
        values.append(session)
    return int(connection.execute(f"SELECT count(*) FROM messages m WHERE {where}", values).fetchone()[0])


def read_many(connection: Connection, user: int, seqs: Iterable[int]) -> dict[int, Stored]:
    """Messages of a user by their place in the log; ones that are gone, or another user's, are left out."""
    wanted, found = list(seqs), dict[int, Stored]()
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        # The plus keeps SQLite from the index by user: these are few rows, each of which is looked up by its number.
        where = f"WHERE +m.user_id = ? AND m.seq IN ({','.join('?' * len(part))})"
        rows = connection.execute(f"{_SELECT} {where}", (user, *part))
        found.update((row[0], _stored(row)) for row in rows)
    return found


def with_id(connection: Connection, user: int, name: str) -> Stored | None:
    """The message that has this id, dead or alive."""
    row = connection.execute(f"{_SELECT} WHERE m.user_id = ? AND m.id = ?", (user, name)).fetchone()
    return None if row is None else _stored(row)


def find(connection: Connection, user: int, name: str) -> Stored:
    """A message by its id or an id's beginning (`memagent.db.ids`), dead or alive.

    Raises `NotFound`, and `InputError` when several ids begin so.
    """
    if not is_storable(name):
        raise NotFound(f"an item's id is a text, not {name!r}; list the ids with `memagent memory list`")

    def between(start: str, end: str) -> list[str]:
        query = "SELECT id FROM messages WHERE user_id = ? AND id >= ? AND id < ? LIMIT 6"
        return [str(row[0]) for row in connection.execute(query, (user, start, end))]

    found = with_id(connection, user, name)
    if found is None and (whole := meant(name, between)) is not None:
        found = with_id(connection, user, whole)
    if found is None:
        raise NotFound(f"there is no item {name!r}; list the ids with `memagent memory list`")
    return found


def versions(connection: Connection, user: int, stored: Stored) -> set[int]:
    """Rows of every content that a message ever had."""
    numbers: set[int | None] = set()
    for content, data in connection.execute(
        "SELECT content_id, data FROM events WHERE user_id = ? AND item = ? AND memory IS NULL", (user, stored.message.id)
    ):
        numbers.update((content, json.loads(data or "{}").get("before")))
    return {number for number in numbers if number is not None}


def places(connection: Connection, user: int, ids: Sequence[str]) -> dict[str, int]:
    """Places in the log of a user's messages, by id; unknown ids are left out."""
    found: dict[str, int] = {}
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        marks = ",".join("?" * len(part))
        found.update(connection.execute(f"SELECT id, seq FROM messages WHERE user_id = ? AND id IN ({marks})", (user, *part)))
    return found


def last_seq(connection: Connection, user: int) -> int:
    """Place of the newest event of a user, 0 if there is none."""
    row = connection.execute("SELECT max(seq) FROM events WHERE user_id = ?", (user,)).fetchone()
    return int(row[0] or 0)


def changed_since(connection: Connection, user: int, seq: int) -> bool:
    """Whether anything but a new message happened after this place in the log."""
    query = "SELECT 1 FROM events WHERE user_id = ? AND seq > ? AND action != 'observe' LIMIT 1"
    return connection.execute(query, (user, seq)).fetchone() is not None


def note_event(
    connection: Connection,
    user: int,
    action: str,
    item: str,
    *,
    memory: str | None = None,
    content_id: int | None = None,
    data: dict[str, object] | None = None,
) -> int:
    """Record that something happened to an item. Returns its place in the log."""
    text = None if data is None else json.dumps(data, ensure_ascii=False)
    cursor = connection.execute(
        "INSERT INTO events (user_id, action, memory, item, content_id, data, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (user, action, memory, item, content_id, text, now().isoformat()),
    )
    return int(cursor.lastrowid or 0)


def set_alive(connection: Connection, user: int, name: str, alive: bool, *, undoes: int | None = None) -> int:
    """Forget or restore a message. Returns the place of the event."""
    connection.execute("UPDATE messages SET alive = ? WHERE user_id = ? AND id = ?", (int(alive), user, name))
    data: dict[str, object] | None = None if undoes is None else {"undoes": undoes}
    return note_event(connection, user, "restore" if alive else "forget", name, data=data)


def set_content(connection: Connection, user: int, name: str, content: int, *, undoes: int | None = None) -> int:
    """Give a message another content. Returns the place of the event."""
    before = connection.execute("SELECT content_id FROM messages WHERE user_id = ? AND id = ?", (user, name)).fetchone()
    connection.execute("UPDATE messages SET content_id = ? WHERE user_id = ? AND id = ?", (content, user, name))
    data: dict[str, object] = {"before": before[0]} if undoes is None else {"before": before[0], "undoes": undoes}
    return note_event(connection, user, "edit", name, content_id=content, data=data)


def drop_unused_contents(connection: Connection) -> None:
    """Delete contents that no event, message or revision names any more."""
    connection.execute(
        "DELETE FROM contents WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.content_id = contents.id)"
        " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.content_id = contents.id)"
        " AND NOT EXISTS (SELECT 1 FROM revisions r WHERE r.content_id = contents.id)"
    )
