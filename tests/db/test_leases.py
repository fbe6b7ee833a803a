"""One worker at a time consolidates: leases expire, and a cursor moves only for whoever holds the lease."""

from __future__ import annotations

import sqlite3
import time
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


@pytest.mark.parametrize("back", [60, 3_600, 86_400, 20 * 365 * 86_400])
def test_a_lease_taken_before_the_clock_was_set_back_is_stale(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    user, began = log.user_id(connection, "ada") or 0, time.time()
    assert leases.take(connection, user, "notes", owner="killed", seconds=120)
    monkeypatch.setattr(time, "time", lambda: began - back)
    assert leases.take(connection, user, "notes", owner="alive", seconds=120)
    assert not leases.take(connection, user, "notes", owner="third", seconds=120)
    with pytest.raises(StoreLocked, match="notes"):
        leases.advance(connection, user, "notes", owner="killed", before=0, after=2)


def test_a_clock_that_is_a_little_behind_takes_no_lease_away(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, began = log.user_id(connection, "ada") or 0, time.time()
    assert leases.take(connection, user, "notes", owner="worker", seconds=120)
    monkeypatch.setattr(time, "time", lambda: began - 2)
    assert not leases.take(connection, user, "notes", owner="other", seconds=120)


def test_a_cursor_moves_only_from_where_its_owner_saw_it(connection: sqlite3.Connection) -> None:
    user = log.user_id(connection, "ada") or 0
    leases.take(connection, user, "notes", owner="worker", seconds=60)
    leases.advance(connection, user, "notes", owner="worker", before=0, after=1)
    assert leases.position(connection, user, "notes") == 1
    with pytest.raises(StoreLocked):
        leases.advance(connection, user, "notes", owner="worker", before=0, after=2)
    assert leases.position(connection, user, "notes") == 1
