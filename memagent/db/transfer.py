"""Exports: the live messages of a user, for people, other programs and other stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from memagent.db import json_lines, log
from memagent.db.sqlite import Database
from memagent.errors import InputError
from memagent.types import Message

EXPORT_VERSION = 1
_BATCH = 500


def export(database: Database, user: str, path: Path) -> int:
    """Write the live messages of a user. Returns the number of messages."""
    with database.read() as connection:
        row = log.user_id(connection, user)
        stored = [] if row is None else list(log.read(connection, row))
    lines: list[json_lines.Row] = [{"memagent_export": EXPORT_VERSION, "user": user, "messages": len(stored)}]
    for one in stored:
        message = one.message.model_dump(mode="json", exclude_none=True)
        lines.append({"session": one.session, "origin": one.origin, **message})
    json_lines.write_lines(path, lines)
    return len(stored)


def read_export(path: Path) -> list[tuple[str, list[Message]]]:
    """All of an export as batches of messages of one session each, in the file's order, every message with an id.

    Raises `InputError` naming the line.
    """
    said: list[tuple[str, Message]] = []
    for number, row in json_lines.read_lines(path, "memagent_export", EXPORT_VERSION)[1]:
        session = row.pop("session", "default")
        row.pop("origin", None)
        if not isinstance(session, str):
            raise InputError(f"{path.name}, line {number}: session is a name, not {session!r}")
        try:
            message = Message.model_validate(row)
            log.encode(message)
        except ValidationError as error:
            raise json_lines.problem(path, number, error) from None
        except InputError as error:
            raise InputError(f"{path.name}, line {number}: {error}") from None
        said.append((session, message))
    return list(in_batches(identified(said)))


def identified(said: Iterable[tuple[str, Message]]) -> Iterator[tuple[str, Message]]:
    """The same, with an id for each message that has none, which is the same whenever the same file is read.

    It depends on what is said, where, and how often it was said there before. An id under which the file says something else
    too, such as that of a whole conversation, is none of a message.
    """
    seen: Counter[bytes] = Counter()
    taken: dict[str, Message] = {}
    for session, one in said:
        if one.id and taken.setdefault(one.id, one) == one:
            yield session, one
            continue
        when = one.time.isoformat() if one.time else ""
        key = log.digest(session, one.role, one.speaker or "", when, one.model_dump_json())
        seen[key] += 1
        yield session, one.model_copy(update={"id": f"i{log.digest(key.hex(), str(seen[key])).hex()[:20]}"})


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
