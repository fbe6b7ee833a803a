"""Messages that come from somewhere else: another store, an earlier export of this one, a file that is read again.

By their ids, so that reading a file twice adds nothing: a message that was deleted here since comes back, one that was edited
here keeps its newer text, one that was edited there gets that text, and another message under a taken id gets an id of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memagent.db import log
from memagent.db.ids import is_made
from memagent.db.log import Appended, Connection, Stored
from memagent.types import Message


def append(connection: Connection, user: int, session: int, messages: Sequence[Message]) -> list[Appended]:
    """Write those messages at the end of the log that are not there, in order. Raises `InputError` as `log.append`."""
    return [_merged(connection, user, session, message) for message in messages]


def _merged(connection: Connection, user: int, session: int, message: Message) -> Appended:
    known = None if message.id is None else log.with_id(connection, user, message.id)
    if known is None:
        return log.append(connection, user, session, [message], origin="imported")[0]
    form, body = log.encode(message)
    content, versions = log.put_content(connection, form, body), log.versions(connection, user, known)
    if content not in versions and not (is_made(str(message.id)) and _said_at_once(known.message, message)):
        other = f"{message.id}~{log.digest(message.role, message.speaker or '', _time(message.time), form, body).hex()[:8]}"
        return _merged(connection, user, session, message.model_copy(update={"id": other}))
    if content not in versions:
        log.set_content(connection, user, str(message.id), content)
    if not known.alive:
        log.set_alive(connection, user, str(message.id), True)
    return Appended(known.seq, str(message.id), _outcome(known, new=content not in versions))


def _said_at_once(one: Message, other: Message) -> bool:
    """Whether these are one message, edited somewhere: nobody says two things at the same instant."""
    return (one.role, one.speaker, one.time) == (other.role, other.speaker, other.time)


def _time(time: datetime | None) -> str:
    return "" if time is None else time.isoformat()


def _outcome(known: Stored, *, new: bool) -> log.Outcome:
    if not known.alive:
        return "restored"
    return "superseded" if new else "skipped"
