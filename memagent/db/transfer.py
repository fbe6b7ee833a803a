"""Moving memories between stores: exports for people and other programs, snapshots for exact return.

Both are JSON lines with a versioned first line, written to a new file with mode 0600 and renamed into place. An export
holds the live messages; a snapshot holds every row of a user, history and derived items included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from memagent.db import log
from memagent.db.log import Connection
from memagent.db.sqlite import Database
from memagent.errors import InputError
from memagent.types import Message
from memagent_renderers.files import atomic_file

EXPORT_VERSION = 1
SNAPSHOT_VERSION = 1
_BATCH = 500
Row = dict[str, object]


def export(database: Database, user: str, path: Path) -> int:
    """Write the live messages of a user. Returns the number of messages."""
    with database.read() as connection:
        row = log.user_id(connection, user)
        stored = [] if row is None else list(log.read(connection, row))
    lines: list[Row] = [{"memagent_export": EXPORT_VERSION, "user": user, "messages": len(stored)}]
    for one in stored:
        message = one.message.model_dump(mode="json", exclude_none=True)
        lines.append({"session": one.session, "origin": one.origin, **message})
    _write(path, lines)
    return len(stored)


def read_export(path: Path) -> Iterator[tuple[str, list[Message]]]:
    """Batches of messages of one session each, in the file's order. Raises `InputError` naming the line."""

    def said() -> Iterator[tuple[str, Message]]:
        for number, row in _rows(path, "memagent_export", EXPORT_VERSION):
            place = str(row.pop("session", "default"))
            row.pop("origin", None)
            try:
                yield place, Message.model_validate(row)
            except ValidationError as error:
                problem = error.errors(include_url=False)[0]
                where = ".".join(map(str, problem["loc"]))
                raise InputError(f"{path.name}, line {number}: {where}: {problem['msg']}") from None

    return in_batches(said())


def in_batches(said: Iterable[tuple[str, Message]]) -> Iterator[tuple[str, list[Message]]]:
    """Messages with the names of their sessions as runs of one session, of at most `_BATCH` messages."""
    session, batch = "", list[Message]()
    for place, message in said:
        if batch and (place != session or len(batch) == _BATCH):
            yield session, batch
            batch = []
        session = place
        batch.append(message)
    if batch:
        yield session, batch


def _rows(path: Path, marker: str, version: int) -> Iterator[tuple[int, Row]]:
    """Lines of a file after its first one, which is checked."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path.name}, line {number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise InputError(f"{path.name}, line {number} is not a JSON object")
            if number > 1:
                yield number, row
            elif row.get(marker) != version:
                raise InputError(f"{path.name} does not start with {{{marker!r}: {version}}}; is it a file of this kind?")


def _write(path: Path, lines: Iterable[Row]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, sync=True) as file:
            file.writelines((json.dumps(line, ensure_ascii=False) + "\n").encode() for line in lines)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


# -- snapshots ---------------------------------------------------------------------------------------------------------

# In an order in which a row comes after the rows that it refers to.
_TABLES = {
    "contents": "SELECT * FROM contents WHERE id IN (SELECT content_id FROM events WHERE user_id = :u"
    " UNION SELECT content_id FROM messages WHERE user_id = :u UNION SELECT content_id FROM revisions WHERE user_id = :u"
    " UNION SELECT json_extract(data, '$.before') FROM events WHERE user_id = :u)",
    "sessions": "SELECT * FROM sessions WHERE user_id = :u",
    "revisions": "SELECT * FROM revisions WHERE user_id = :u ORDER BY id",
    "events": "SELECT * FROM events WHERE user_id = :u ORDER BY seq",
    "messages": "SELECT * FROM messages WHERE user_id = :u ORDER BY seq",
    "revision_sources": "SELECT x.* FROM revision_sources x JOIN revisions r ON r.id = x.revision_id WHERE r.user_id = :u",
    "cursors": "SELECT * FROM cursors WHERE user_id = :u",
    "vectors": "SELECT * FROM vectors WHERE user_id = :u",
}


def snapshot(database: Database, user: str, path: Path) -> Path:
    """Write every row of a user."""
    lines: list[Row] = [{"memagent_snapshot": SNAPSHOT_VERSION, "user": user}]
    with database.read() as connection:
        row = log.user_id(connection, user)
        for table, query in _TABLES.items() if row is not None else ():
            cursor = connection.execute(query, {"u": row})
            names = [column[0] for column in cursor.description]
            for values in cursor:
                plain = [{"hex": value.hex()} if isinstance(value, bytes) else value for value in values]
                lines.append({"table": table, "row": dict(zip(names, plain, strict=True))})
    _write(path, lines)
    return path


def restore(database: Database, user: str, path: Path) -> None:
    """Replace a user by a snapshot. Raises `InputError` for a file that is none; then nothing is changed."""
    lines = list(_rows(path, "memagent_snapshot", SNAPSHOT_VERSION))
    try:
        with database.write() as connection:
            columns = {table: {one[1] for one in connection.execute(f"PRAGMA table_info({table})")} for table in _TABLES}
            old = log.user_id(connection, user)
            if old is not None:
                connection.execute("DELETE FROM messages WHERE user_id = ?", (old,))
                connection.execute("DELETE FROM users WHERE id = ?", (old,))
            restorer = _Restorer(connection, log.ensure_user(connection, user))
            for number, line in lines:
                table, row = str(line.get("table")), line.get("row")
                # a name that is no column would become SQL
                fits = isinstance(row, dict) and set(row) == columns.get(table) and list not in map(type, row.values())
                if not isinstance(row, dict) or not fits:
                    raise InputError(f"{path.name}, line {number} is no row of {table!r}; this is no snapshot of this version")
                values = {
                    name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for name, value in row.items()
                }
                restorer.insert(table, values)
            log.drop_unused_contents(connection)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path.name} is damaged, or no snapshot of this version: {error!r}") from error


_NAMED = {"content_id": "contents", "session_id": "sessions", "seq": "events", "revision_id": "revisions"}
"""Columns that name a row of another table, by that table."""
_NAMED_IN_DATA = {"before": "contents", "undoes": "events", "revision": "revisions"}
"""The same within the JSON of an event."""
_KEYS = {"sessions": "id", "events": "seq", "revisions": "id"}


class _Restorer:
    """Inserts rows of a snapshot under new row numbers; other processes then see a new user and start afresh."""

    def __init__(self, connection: Connection, user: int) -> None:
        self._connection = connection
        self._user = user
        self._new: dict[str, dict[object, int]] = {"contents": {}, "sessions": {}, "events": {}, "revisions": {}}

    def insert(self, table: str, row: Row) -> None:
        """Insert one row; rows it refers to must have come before."""
        if table == "contents":
            self._new["contents"][row["id"]] = log.put_content(self._connection, str(row["form"]), str(row["body"]))
            return
        old = row.pop(_KEYS[table]) if table in _KEYS else None
        new = self._renumbered(row, _NAMED)
        if "user_id" in new:
            new["user_id"] = self._user
        if table == "events" and row["data"] is not None:
            data = json.loads(str(row["data"]))
            new["data"] = json.dumps(self._renumbered(data, _NAMED_IN_DATA), ensure_ascii=False)
        marks = ", ".join("?" * len(new))
        cursor = self._connection.execute(f"INSERT INTO {table} ({', '.join(new)}) VALUES ({marks})", tuple(new.values()))
        if old is not None:
            self._new[table][old] = int(cursor.lastrowid or 0)

    def _renumbered(self, row: Row, named: Mapping[str, str]) -> Row:
        return {
            name: self._new[named[name]].get(value, 0) if name in named and value is not None else value
            for name, value in row.items()
        }
