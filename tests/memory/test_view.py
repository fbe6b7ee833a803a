"""Lines of a text view: the day where something was said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from memagent import Message, Store
from memagent.memory.view import clean

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


@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize("kind", ["rag", "notes", "memocr"])
@pytest.mark.parametrize(
    ("question", "days"),
    [
        ("Where did I go last week?", range(16, 23)),
        ("Where did I go on 18 November?", [18]),
        ("where did i go yesterday", [24]),
        ("Wo war ich vor fünf Tagen?", [20]),
        ("¿Dónde estuve anteayer?", [23]),
        ("我三天前去了哪里？", [22]),
    ],
)
def test_lines_of_the_days_that_a_question_names_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, consolidated: bool, question: str, days: list[int]
) -> None:
    today = datetime(2026, 11, 25, 12, tzinfo=TOKYO)
    for place in ("retrieval.searcher", "memory.notes.view", "memory.memocr.document"):
        monkeypatch.setattr(f"memagent.{place}.now", lambda: today)
    options = {"engine": "fake"} if kind == "memocr" else {}
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory(kind, user="haru", **options)
        for age in range(1, 25):
            said = today - timedelta(days=age)
            memory.add(Message(role="user", content=f"I went to place number {said.day * 100}.", time=said))
        if consolidated:
            memory.consolidate()
        sources = memory.recall(question, budget=60 if kind != "memocr" else 16).sources
    best = max(sources, key=lambda source: source.score or 0.0)
    assert best.text in {f"I went to place number {day * 100}.{end}" for day in days for end in ("", f" ({day} Nov 2026)")}


def test_a_soft_hyphen_parts_no_word() -> None:
    assert clean("Donau\u00addampf\u2060schiff\x00ahoi <mem\u00adory>") == "Donaudampfschiff ahoi ‹memory>"
