"""The schema, as numbered steps. Each is applied once, in order, inside one transaction, and recorded in the store.

The event log is the truth: `events` says what happened, `contents` holds every text once, `messages` is the log's current
state, one row per message. Everything below the line marked *derived* can be thrown away and rebuilt.
Never edit a step that has been released; add one. Files of every released version are kept in `tests/data/stores`.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable

APPLICATION_ID = 0x4D454D41  # "MEMA"

_SCHEMA_1 = """
CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE migrations (number INTEGER PRIMARY KEY, applied_at TEXT NOT NULL);
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL
);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (user_id, name)
);
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,     -- BLAKE2b-128 of form and body
    form TEXT NOT NULL,              -- 'text', or 'parts' (JSON, pictures in base64)
    body TEXT NOT NULL
);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    session_id INTEGER REFERENCES sessions(id) ON DELETE CASCADE,
    action TEXT NOT NULL,            -- observe, edit, forget, restore, purge, revise
    memory TEXT,                     -- kind of memory the item belongs to; NULL for messages
    item TEXT NOT NULL,
    content_id INTEGER REFERENCES contents(id),
    data TEXT,                       -- JSON: for observe role, speaker, time, origin; for others what undo needs
    at TEXT NOT NULL
);
CREATE INDEX events_by_user ON events (user_id, seq);
CREATE INDEX events_by_item ON events (user_id, item);
CREATE INDEX events_by_content ON events (content_id);
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY REFERENCES events(seq) ON DELETE CASCADE,
    user_id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    id TEXT NOT NULL,
    role TEXT NOT NULL,
    speaker TEXT,
    time TEXT NOT NULL,              -- ISO 8601 with offset
    origin TEXT NOT NULL,            -- said, added, imported, partial
    content_id INTEGER NOT NULL REFERENCES contents(id),
    alive INTEGER NOT NULL DEFAULT 1,
    UNIQUE (user_id, id)
);
CREATE INDEX messages_by_user ON messages (user_id, seq);
CREATE INDEX messages_by_session ON messages (session_id, seq);
CREATE INDEX messages_by_content ON messages (content_id);

-- derived
CREATE TABLE vectors (
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    digest BLOB NOT NULL,            -- BLAKE2b-128 of the embedded text
    vector BLOB NOT NULL,            -- float32, little endian
    PRIMARY KEY (user_id, digest)
) WITHOUT ROWID;
CREATE TABLE revisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    session_id INTEGER REFERENCES sessions(id) ON DELETE CASCADE,
    memory TEXT NOT NULL,
    item TEXT NOT NULL,
    action TEXT NOT NULL,            -- add, update, delete, none
    content_id INTEGER REFERENCES contents(id),
    data TEXT NOT NULL,              -- JSON: what the kind of memory keeps beside the text
    reason TEXT NOT NULL,
    origin TEXT NOT NULL,            -- distilled, user
    at TEXT NOT NULL
);
CREATE INDEX revisions_by_item ON revisions (user_id, memory, item, id);
CREATE INDEX revisions_by_content ON revisions (content_id);
CREATE TABLE revision_sources (
    revision_id INTEGER NOT NULL REFERENCES revisions(id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,            -- messages.seq
    PRIMARY KEY (revision_id, seq)
) WITHOUT ROWID;
CREATE INDEX revision_sources_by_message ON revision_sources (seq);
CREATE TABLE cursors (
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    memory TEXT NOT NULL,
    seq INTEGER NOT NULL,            -- messages up to here are distilled
    PRIMARY KEY (user_id, memory)
) WITHOUT ROWID;
CREATE TABLE leases (
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    memory TEXT NOT NULL,
    owner TEXT NOT NULL,
    expires REAL NOT NULL,           -- seconds since the epoch
    PRIMARY KEY (user_id, memory)
) WITHOUT ROWID;
"""


def _first(connection: sqlite3.Connection) -> None:
    for statement in re.sub(r"--.*", "", _SCHEMA_1).split(";"):  # executescript would end the transaction
        if statement.strip():
            connection.execute(statement)


def _second(connection: sqlite3.Connection) -> None:
    """The database gets an identity, by which caches and other stores know it; revisions get a place in the log."""
    connection.execute("INSERT INTO header VALUES ('identity', ?)", (secrets.token_hex(16),))
    connection.execute("ALTER TABLE revisions ADD COLUMN seq INTEGER NOT NULL DEFAULT 0")  # newest event that it knows
    connection.execute(
        "UPDATE revisions SET seq = coalesce((SELECT max(e.seq) FROM events e"
        " WHERE e.user_id = revisions.user_id AND e.at <= revisions.at), 0)"
    )


def _third(connection: sqlite3.Connection) -> None:
    """A vector may come with what its embedder made of the words of the text."""
    connection.execute("ALTER TABLE vectors ADD COLUMN tokens BLOB")  # TokenStates.to_bytes


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _first, 2: _second, 3: _third}
SCHEMA_VERSION = max(MIGRATIONS)
