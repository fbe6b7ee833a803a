"""Snapshots: every row of a user, history and derived items included, for return to exactly that state.

A snapshot is a file, and a file may have been made by anybody: each line is read as a row of one of the tables below, value by
value, before anything is written, and no name in the file becomes part of a statement. Rows get new numbers when they are
restored, so that other processes see another user and start afresh.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from memagent.db import json_lines, log
from memagent.db.log import Connection, Origin
from memagent.db.revisions import Action, RevisionOrigin
from memagent.db.sqlite import Database
from memagent.errors import InputError
from memagent.types import Role

SNAPSHOT_VERSION = 2


def _text(value: str) -> str:
    log.check_text(value)
    return value


def _name(value: str) -> str:
    if not log.is_name(value):
        raise ValueError("this is no printable name of 1 to 200 characters")
    return value


def _moment(value: str) -> str:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError("this time has no time zone")
    return value


def _parsed(value: str) -> datetime:
    return datetime.fromisoformat(value)


class _EventData(BaseModel):
    """What an event says beside its text. Numbers are those of rows."""

    model_config = ConfigDict(extra="allow", strict=True)

    before: int | None = None
    undoes: int | None = None
    revision: int | None = None
    origin: str | None = None


class _RevisionData(BaseModel):
    """What kinds of memory keep beside a text, as far as it is read as more than a text."""

    model_config = ConfigDict(extra="allow", strict=True)

    valid_from: Annotated[str, AfterValidator(_parsed)] | None = None
    valid_to: Annotated[str, AfterValidator(_parsed)] | None = None
    importance: float | None = None
    number: int | None = None
    missing: list[str] | None = None


def _event_data(value: str) -> str:
    _EventData.model_validate_json(_text(value))
    return _finite(value)


def _revision_data(value: str) -> str:
    _RevisionData.model_validate_json(_text(value))
    return _finite(value)


def _finite(value: str) -> str:
    """JSON with numbers that SQLite reads as such: Python takes, and would write, NaN and infinity too."""
    json.dumps(json.loads(value), allow_nan=False)
    return value


Number = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_name)]
Moment = Annotated[str, AfterValidator(_moment)]


class _Bytes(BaseModel):
    """Bytes in a line of JSON."""

    model_config = ConfigDict(extra="forbid")

    hex: Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]


class _Row(BaseModel):
    """A row of a table, by the names of its columns."""

    model_config = ConfigDict(extra="forbid")

    table: ClassVar[str]
    query: ClassVar[str]
    """Which rows are a user's, `:u`."""


class _ContentRow(_Row):
    table: ClassVar[str] = "contents"
    query: ClassVar[str] = (
        "id IN (SELECT content_id FROM events WHERE user_id = :u UNION SELECT content_id FROM messages WHERE user_id = :u"
        " UNION SELECT content_id FROM revisions WHERE user_id = :u"
        " UNION SELECT json_extract(data, '$.before') FROM events WHERE user_id = :u)"
    )
    id: Number
    form: Literal["text", "parts"]
    body: Text


class _SessionRow(_Row):
    table: ClassVar[str] = "sessions"
    query: ClassVar[str] = "user_id = :u"
    id: Number
    name: Name
    created_at: Moment


class _EventRow(_Row):
    table: ClassVar[str] = "events"
    query: ClassVar[str] = "user_id = :u ORDER BY seq"
    seq: Number
    session_id: Number | None
    action: Literal["observe", "edit", "forget", "restore", "purge", "revise"]
    memory: Name | None
    item: Text
    content_id: Number | None
    data: Annotated[str, AfterValidator(_event_data)] | None
    at: Moment

    @model_validator(mode="after")
    def _of_a_memory(self) -> Self:
        if self.action == "revise" and self.memory is None:
            raise ValueError("a revision is of a memory")
        return self


class _MessageRow(_Row):
    table: ClassVar[str] = "messages"
    query: ClassVar[str] = "user_id = :u ORDER BY seq"
    seq: Number
    session_id: Number
    id: Text
    role: Role
    speaker: Text | None
    time: Moment
    origin: Origin
    content_id: Number
    alive: Annotated[int, Field(ge=0, le=1, strict=True)]


class _RevisionRow(_Row):
    table: ClassVar[str] = "revisions"
    query: ClassVar[str] = "user_id = :u ORDER BY id"
    id: Number
    session_id: Number | None
    memory: Name
    item: Text
    action: Action
    content_id: Number
    data: Annotated[str, AfterValidator(_revision_data)]
    reason: Text
    origin: RevisionOrigin
    at: Moment
    seq: Number


class _SourceRow(_Row):
    table: ClassVar[str] = "revision_sources"
    query: ClassVar[str] = "revision_id IN (SELECT id FROM revisions WHERE user_id = :u)"
    revision_id: Number
    seq: Number


class _CursorRow(_Row):
    table: ClassVar[str] = "cursors"
    query: ClassVar[str] = "user_id = :u"
    memory: Name
    seq: Number


class _VectorRow(_Row):
    table: ClassVar[str] = "vectors"
    query: ClassVar[str] = "user_id = :u"
    digest: _Bytes
    vector: _Bytes
    tokens: _Bytes | None = None


_ROWS = (_ContentRow, _SessionRow, _EventRow, _MessageRow, _RevisionRow, _SourceRow, _CursorRow, _VectorRow)
_BY_TABLE: Mapping[str, TypeAdapter[Any]] = {kind.table: TypeAdapter(kind) for kind in _ROWS}


def snapshot(database: Database, user: str, path: Path) -> Path:
    """Write every row of a user."""
    with database.read() as connection:
        row = log.user_id(connection, user)
        lines: list[json_lines.Row] = [{"memagent_snapshot": SNAPSHOT_VERSION, "user": user, "embedder": _embedder(connection)}]
        for kind in _ROWS if row is not None else ():
            names = list(kind.model_fields)
            for values in connection.execute(f"SELECT {', '.join(names)} FROM {kind.table} WHERE {kind.query}", {"u": row}):
                plain = [{"hex": value.hex()} if isinstance(value, bytes) else value for value in values]
                lines.append({"table": kind.table, "row": dict(zip(names, plain, strict=True))})
    json_lines.write_lines(path, lines)
    return path


def restore(database: Database, user: str, path: Path) -> None:
    """Replace a user by a snapshot. Raises `InputError` for a file that is none; then nothing is changed."""
    first, lines = json_lines.read_lines(path, "memagent_snapshot", SNAPSHOT_VERSION)
    rows: dict[str, list[Any]] = {kind.table: [] for kind in _ROWS}
    for number, line in lines:
        table = line.get("table")
        if not isinstance(table, str) or table not in _BY_TABLE or set(line) != {"table", "row"}:
            raise InputError(f"{path.name}, line {number} is no row of a table; this is no snapshot of this version")
        try:
            rows[table].append(_BY_TABLE[table].validate_python(line["row"]))
        except ValidationError as error:
            raise json_lines.problem(path, number, error) from None
        except InputError as error:
            raise InputError(f"{path.name}, line {number}: {error}") from None
    with database.write() as connection:
        if first.get("embedder") != _embedder(connection):
            rows["vectors"].clear()  # they are another embedder's; ours are made when they are needed
        old = log.user_id(connection, user)
        if old is not None:
            connection.execute("DELETE FROM messages WHERE user_id = ?", (old,))
            connection.execute("DELETE FROM users WHERE id = ?", (old,))
        try:
            _Restorer(connection, log.ensure_user(connection, user)).insert(rows)
        except (KeyError, ValueError, TypeError, RecursionError, sqlite3.IntegrityError) as error:
            raise InputError(f"{path.name} does not hold together ({error!r}); this is no whole snapshot") from error
        log.drop_unused_contents(connection)


def _embedder(connection: Connection) -> str | None:
    row = connection.execute("SELECT value FROM header WHERE key = 'embedder'").fetchone()
    return None if row is None else str(json.loads(row[0])["id"])


class _Restorer:
    """Inserts rows under new numbers. Raises `KeyError` for one that refers to a row that is not in the file."""

    def __init__(self, connection: Connection, user: int) -> None:
        self._connection = connection
        self._user = user
        self._contents: dict[int | None, int | None] = {None: None}
        self._sessions: dict[int | None, int | None] = {None: None}
        self._events: dict[int, int] = {}
        self._revisions: dict[int, int] = {}

    def insert(self, rows: Mapping[str, list[Any]]) -> None:
        for content in rows["contents"]:
            log.decode(content.form, content.body)
            self._contents[content.id] = log.put_content(self._connection, content.form, content.body)
        for session in rows["sessions"]:
            self._sessions[session.id] = self._put("sessions", session, "id")
        for event in sorted(rows["events"], key=lambda one: one.seq):
            changed = {"session_id": self._sessions[event.session_id], "content_id": self._contents[event.content_id]}
            self._events[event.seq] = self._put("events", event, "seq", **changed)
        for message in rows["messages"]:
            if message.content_id is None:
                raise ValueError("a message without content")
            changed = {"session_id": self._sessions[message.session_id], "content_id": self._contents[message.content_id]}
            self._put("messages", message, None, seq=self._events[message.seq], **changed)
        places = sorted(self._events)
        for one in sorted(rows["revisions"], key=lambda one: one.id):
            changed = {"session_id": self._sessions[one.session_id], "content_id": self._contents[one.content_id]}
            self._revisions[one.id] = self._put("revisions", one, "id", seq=self._at_most(one.seq, places), **changed)
        for source in rows["revision_sources"]:
            if source.seq in self._events:
                pair = (self._revisions[source.revision_id], self._events[source.seq])
                self._connection.execute("INSERT INTO revision_sources VALUES (?, ?)", pair)
        for cursor in rows["cursors"]:
            self._put("cursors", cursor, None, seq=self._at_most(cursor.seq, places))
        self._put_vectors(rows["vectors"])
        self._rename_in_events(rows["events"])

    def _put(self, table: str, row: BaseModel, key: str | None, **changed: object) -> int:
        values = {**row.model_dump(exclude={key} if key else None), "user_id": self._user, **changed}
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"  # names of our models, none of the file's
        return int(self._connection.execute(statement, tuple(values.values())).lastrowid or 0)

    def _at_most(self, seq: int, places: list[int]) -> int:
        """The new place of the last event up to an old place; 0 if there is none."""
        number = bisect_right(places, seq)
        return self._events[places[number - 1]] if number else 0

    def _put_vectors(self, vectors: list[_VectorRow]) -> None:
        rows = [
            (bytes.fromhex(one.digest.hex), bytes.fromhex(one.vector.hex), one.tokens and bytes.fromhex(one.tokens.hex))
            for one in vectors
        ]
        dimension = self._connection.execute("SELECT value FROM header WHERE key = 'embedder'").fetchone()
        size = 4 * int(json.loads(dimension[0])["dimension"]) if dimension else 0
        if any(len(digest) != 16 or len(vector) != size for digest, vector, _ in rows):
            raise ValueError("a vector of another size")
        self._connection.executemany(
            "INSERT INTO vectors (user_id, digest, vector, tokens) VALUES (?, ?, ?, ?)", [(self._user, *row) for row in rows]
        )

    def _rename_in_events(self, events: list[_EventRow]) -> None:
        """What events say about other rows, said about the new ones."""
        for event in events:
            if event.data is None:
                continue
            data: dict[str, JsonValue] = {} if event.action == "purge" else json.loads(event.data)
            if event.action == "edit":
                data["before"] = self._contents[_EventData.model_validate(data).before or 0]
            if "undoes" in data:  # what it took back, or the revision, may be gone for good
                data["undoes"] = self._events.get(_EventData.model_validate(data).undoes or 0, 0)
            if "revision" in data:
                data["revision"] = self._revisions.get(_EventData.model_validate(data).revision or 0, 0)
            self._connection.execute(
                "UPDATE events SET data = ? WHERE seq = ?", (json.dumps(data, ensure_ascii=False), self._events[event.seq])
            )
