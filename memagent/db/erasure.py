"""Erasing for good: rows here, bytes by `secure_delete`, files by `Backend.erase_files` after the commit.

A `purge` event stays behind that names places in the log, so that every process that holds an index in memory drops them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memagent.db import log, revisions
from memagent.db.log import Connection, Stored
from memagent.db.vectors import drop_vectors
from memagent.text.sentences import indexed_text, spans


def messages(connection: Connection, user: int, targets: Sequence[Stored]) -> list[str]:
    """Erase messages with everything derived from them. Returns the texts that are gone."""
    texts = revisions.drop_of_messages(connection, user, [one.seq for one in targets])
    speakers = {None, *(one.message.speaker for one in targets)}
    drop_vectors(connection, user, [log.digest(indexed_text(who, text)) for who in speakers for text in texts])
    for one in targets:
        versions = _texts(connection, user, one)
        texts.extend(versions)
        passages = [text[start:stop] for text in versions for start, stop in spans(text)]
        drop_vectors(connection, user, [log.digest(indexed_text(one.message.speaker, passage)) for passage in passages])
        connection.execute("DELETE FROM messages WHERE seq = ?", (one.seq,))
        connection.execute("DELETE FROM events WHERE user_id = ? AND item = ? AND memory IS NULL", (user, one.message.id))
    log.note_event(connection, user, "purge", "", data={"messages": [one.seq for one in targets]})
    log.drop_unused_contents(connection)
    return texts


def _texts(connection: Connection, user: int, one: Stored) -> list[str]:
    """Every text that a message ever had."""
    numbers = log.versions(connection, user, one)
    rows = [connection.execute("SELECT body FROM contents WHERE id = ?", (number,)).fetchone() for number in sorted(numbers)]
    return list(dict.fromkeys([one.message.text, *(row[0] for row in rows if row is not None)]))


def item(connection: Connection, user: int, memory: str, name: str) -> None:
    """Erase a derived item with its history (its messages are erased by `messages`)."""
    connection.execute("DELETE FROM revisions WHERE user_id = ? AND memory = ? AND item = ?", (user, memory, name))
    connection.execute("DELETE FROM events WHERE user_id = ? AND memory = ? AND item = ?", (user, memory, name))
    log.drop_unused_contents(connection)


def user(connection: Connection, row: int) -> None:
    """Erase a user. Everything of it hangs on the user's row."""
    connection.execute("DELETE FROM messages WHERE user_id = ?", (row,))
    connection.execute("DELETE FROM users WHERE id = ?", (row,))
    log.drop_unused_contents(connection)


def typed_lines(file: Path, texts: Sequence[str] | None) -> None:
    """Remove the lines that hold an erased text from a file of typed lines; with None, the file itself."""
    if texts is None:
        file.unlink(missing_ok=True)
    elif file.exists():
        gone = {line.strip() for text in texts for line in text.splitlines() if line.strip()}
        kept = [line for line in file.read_text("utf-8").splitlines(True) if line.lstrip("+ ").strip() not in gone]
        file.write_text("".join(kept), "utf-8")
