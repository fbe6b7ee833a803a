"""Erasing for good: rows here, bytes by `secure_delete`, files by `Backend.purge` after the commit.

A purge that was begun is recorded in the database until its files are erased too, so that the next one, or whoever opens the
store next, can finish it.

A `purge` event stays behind that names places in the log, so that every process that holds an index in memory drops them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from memagent.db import log, revisions
from memagent.db.log import Connection, Stored
from memagent.db.vectors import drop_vectors
from memagent.errors import StoreError
from memagent.text import tokens
from memagent.text.sentences import indexed_text, spans
from memagent_renderers.files import write_atomic

_PENDING = "purge:"
"""Begins the keys under which the header holds purges that are not finished."""


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


# -- files, after the commit -------------------------------------------------------------------------------------------


def begin(connection: Connection, user: str, names: Sequence[str]) -> None:
    """Record, in the transaction that erases these items of a user, that files are still to be erased."""
    doomed = {one.hex() for one in (log.digest(name) for name in names)} | pending(connection).get(_key(user), set())
    connection.execute("INSERT OR REPLACE INTO header VALUES (?, ?)", (_PENDING + _key(user), json.dumps(sorted(doomed))))


def pending(connection: Connection) -> dict[str, set[str]]:
    """Purges whose files are not erased yet: digests of items by the digest of their user's name."""
    rows = connection.execute("SELECT key, value FROM header WHERE key GLOB ?", (f"{_PENDING}*",))
    return {key.removeprefix(_PENDING): set(json.loads(value)) for key, value in rows}


def finish(connection: Connection, done: Iterable[str]) -> None:
    """Strike out purges whose files are erased."""
    connection.executemany("DELETE FROM header WHERE key = ?", [(_PENDING + key,) for key in done])


def was_pending(found: dict[str, set[str]], user: str, name: str) -> bool:
    """Whether the purge of this item is one of those found."""
    return log.is_storable(name) and log.digest(name).hex() in found.get(_key(user), ())


def _key(user: str) -> str:
    return log.digest(user).hex()


def delete(path: Path) -> None:
    """Delete a file or a folder, if it is there. Raises `StoreError` where it stays."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(
            f"erased from the database, but {path} cannot be deleted ({error.strerror}); delete it, and purge again"
        ) from error


def drafts(path: Path) -> None:
    """Delete every draft of a file (`memagent_renderers.files`): of writers that were killed, or that come too late."""
    for one in path.parent.glob(f".{path.name}.*"):
        delete(one)


def typed_lines(file: Path, texts: Sequence[str] | None) -> None:
    """Remove from a file of typed lines those that tell something of the erased texts: any word of theirs that carries content.

    With None, the file itself. Drafts of it that a killed process left go whole. Raises `StoreError` where that cannot be done.
    """
    drafts(file)
    if texts is None:
        delete(file)
        return
    try:
        lines = file.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(f"cannot read {file} ({error.strerror}), where typed lines may hold what is to be erased") from error
    whole = {line.strip() for text in texts for line in text.splitlines() if line.strip()}
    telling = {term for text in texts for term in tokens.content_terms(text)}
    kept = [line for line in lines if line.lstrip("+ ").strip() not in whole and telling.isdisjoint(tokens.content_terms(line))]
    if len(kept) < len(lines):
        try:
            write_atomic(file, "".join(kept), sync=True)
        except OSError as error:
            raise StoreError(f"cannot write {file} ({error.strerror}), where typed lines hold what is to be erased") from error
