"""JSON lines: a message a line, in the common spellings of chat logs, and our own exports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memagent.db.log import encode
from memagent.db.transfer import EXPORT_VERSION
from memagent.errors import InputError
from memagent.importers.base import HINT, Batch, batches, numbered_lines, session_name
from memagent.memory.arguments import checked_name
from memagent.messages import as_message
from memagent.types import Message

_ALIASES = {"text": "content", "name": "speaker", "timestamp": "time"}
_ROLES = {"human": "user", "ai": "assistant", "bot": "assistant", "model": "assistant"}
_EXPORT = "memagent_export"


def read(path: Path) -> Iterator[Batch]:
    """Runs of lines of one session. Lines without a session belong to one named like the file. Raises `InputError`."""
    yield from batches(_said(path))


def _said(path: Path) -> Iterator[tuple[str, Message]]:
    for number, row in _rows(path):
        place = row.get("session")
        try:
            session = session_name(path) if place is None else checked_name("session", str(place))
            message = _message(row)
        except InputError as error:
            raise InputError(f"{path.name}, line {number}: {error}") from None
        if message is not None:
            yield session, message


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file; the first line of an export of ours is checked and left out."""
    first = True
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path.name}, line {number} is not JSON: {error} ({HINT})") from None
        if not isinstance(row, dict):
            raise InputError(f"{path.name}, line {number} is not a JSON object with role and content")
        if not (first and _EXPORT in row):
            yield number, row
        elif row[_EXPORT] != EXPORT_VERSION:
            raise InputError(
                f"{path.name}, line {number}: an export of version {row[_EXPORT]!r}; this program reads {EXPORT_VERSION}. "
                "Was it written by a newer memagent?"
            )
        first = False


def _message(row: dict[str, Any]) -> Message | None:
    """The message of a line; None for one that says nothing, such as a bare tool call."""
    fields = {name: value for name, value in row.items() if name not in _ALIASES}
    fields = {_ALIASES[name]: value for name, value in row.items() if name in _ALIASES} | fields
    if "content" not in fields:
        raise InputError(f"no content; a line is an object with role and content ({HINT})")
    if fields["content"] in (None, "", []):
        return None
    known = {name: fields[name] for name in ("role", "content", "time", "speaker", "id") if fields.get(name) is not None}
    role = known.get("role", "user")
    known["role"] = _ROLES.get(role, role) if isinstance(role, str) else role
    if isinstance(known.get("id"), int):
        known["id"] = str(known["id"])
    if isinstance(known.get("time"), str):
        with suppress(ValueError):  # `as_message` judges what is no ISO time
            time = datetime.fromisoformat(known["time"].strip())
            known["time"] = time if time.tzinfo else time.replace(tzinfo=UTC)  # a time without a zone is taken as UTC
    message = as_message(known)
    encode(message)
    return message
