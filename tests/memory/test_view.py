"""Lines of a text view: the day where something was said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from memagent import Message, Store

TOKYO = timezone(timedelta(hours=9))
KINDS = ("rag", "long_context", "notes")


@pytest.fixture(params=["Asia/Tokyo", "America/Los_Angeles", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_said_in_the_morning_in_tokyo_shows_the_day_in_tokyo(tmp_path: Path, kind: str) -> None:
    said = datetime(2026, 5, 2, 8, tzinfo=TOKYO)
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory(kind, user="haru")
        memory.add(Message(role="user", content="My dentist appointment is tomorrow.", time=said))
        memory.consolidate()
        assert "[2 May 2026]" in (memory.recall("When is my dentist appointment?").text or "")


def test_a_message_without_a_time_gets_the_day_of_the_users_own_clock(tmp_path: Path, zone: str) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="haru")
        before = datetime.now()
        memory.add("My dentist appointment is tomorrow.")
        said = memory.items()[0].time
    assert said.utcoffset() == datetime.now().astimezone().utcoffset()
    assert before <= said.replace(tzinfo=None) <= datetime.now()


def test_the_offset_of_a_message_outlives_the_store_an_export_and_a_snapshot(tmp_path: Path) -> None:
    said = datetime(2026, 5, 2, 8, tzinfo=TOKYO)
    with Store(tmp_path / "one", embedder=None) as store:
        memory = store.memory("rag", user="haru")
        memory.add(Message(role="user", content="The dentist is tomorrow.", time=said))
        memory.export_file(tmp_path / "export.jsonl")
        memory.snapshot(tmp_path / "snapshot.jsonl")
    with Store(tmp_path / "two", embedder=None) as store:
        read, restored = store.memory("rag", user="read"), store.memory("rag", user="restored")
        read.import_file(tmp_path / "export.jsonl")
        restored.restore(tmp_path / "snapshot.jsonl")
        assert [one.items()[0].time.isoformat() for one in (read, restored)] == [said.isoformat()] * 2


def test_a_session_tells_its_times_in_the_order_of_the_log(tmp_path: Path) -> None:
    early = datetime(2026, 5, 2, 8, tzinfo=TOKYO)
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="haru")
        memory.add([Message(role="user", content=text, time=at) for text, at in (("a", early), ("b", early.astimezone(UTC)))])
        memory.add(Message(role="user", content="c", time=datetime(2026, 5, 1, 23, 30, tzinfo=UTC)))
        session = store.sessions("haru")[0]
    assert session.first == early
    assert session.last - session.first == timedelta(minutes=30)
