"""One worker at a time consolidates: leases expire, and a cursor moves only for whoever holds the lease."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from memagent.db import leases, log
from memagent.errors import StoreLocked
from memagent.store import Store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with Store(tmp_path, embedder=None) as store:
        store.memory("rag", user="ada").add(["one", "two"])
        with store.backend.database.write() as connection:
            yield connection


def test_a_lease_keeps_others_out_until_it_is_released(connection: sqlite3.Connection) -> None:
    user = log.user_id(connection, "ada") or 0
    assert leases.take(connection, user, "notes", owner="first", seconds=60)
    assert leases.take(connection, user, "notes", owner="first", seconds=60)
    assert not leases.take(connection, user, "notes", owner="second", seconds=60)
    assert leases.take(connection, user, "memocr", owner="second", seconds=60)
    leases.release(connection, user, "notes", owner="second")
    assert not leases.take(connection, user, "notes", owner="second", seconds=60)
    leases.release(connection, user, "notes", owner="first")
    assert leases.take(connection, user, "notes", owner="second", seconds=60)


def test_a_lease_that_has_expired_can_be_taken(connection: sqlite3.Connection) -> None:
    user = log.user_id(connection, "ada") or 0
    assert leases.take(connection, user, "notes", owner="dead", seconds=-1)
    assert leases.take(connection, user, "notes", owner="alive", seconds=60)
    with pytest.raises(StoreLocked, match="notes"):
        leases.advance(connection, user, "notes", owner="dead", before=0, after=2)


def test_a_cursor_moves_only_from_where_its_owner_saw_it(connection: sqlite3.Connection) -> None:
    user = log.user_id(connection, "ada") or 0
    leases.take(connection, user, "notes", owner="worker", seconds=60)
    leases.advance(connection, user, "notes", owner="worker", before=0, after=1)
    assert leases.position(connection, user, "notes") == 1
    with pytest.raises(StoreLocked):
        leases.advance(connection, user, "notes", owner="worker", before=0, after=2)
    assert leases.position(connection, user, "notes") == 1
