"""Snapshots: exactly what was there, or nothing at all; no file reaches another user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import InputError
from memagent.memory.base import Memory
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store


@pytest.mark.parametrize(
    "line",
    [
        '{"table": "secrets", "row": {}}',
        '{"table": "users", "row": {"id": 1, "name": "bob", "created_at": ""}}',
        '{"table": "cursors", "row": {"user_id": 2, "memory": "rag"}}',
        '{"table": "cursors", "row": {"user_id": 2, "memory": "rag", "seq) VALUES (1, \'notes\', 9) --": 1}}',
        '{"table": "cursors", "row": {"user_id": 2, "memory": ["rag"], "seq": 1}}',
        '{"table": "vectors", "row": {"user_id": 2, "digest": {"hex": "no"}, "vector": {}}}',
        '{"row": 7}',
    ],
)
def test_a_snapshot_with_a_row_that_is_none_leaves_every_user_as_it_was(tmp_path: Path, line: str) -> None:
    with Store(tmp_path / "mem", embedder=None) as store:
        store.memory("rag", user="bob").add("I like tea.")
        memory = store.memory("rag", user="ada")
        memory.add("My dog is called Biscuit.")
        snapshot = memory.snapshot(tmp_path / "snapshot.jsonl")
        snapshot.write_text(f"{snapshot.read_text()}{line}\n")
        memory.add("I live in Lyon.")
        with store.backend.database.read() as connection:
            before = list(connection.iterdump())
        with pytest.raises(InputError, match=r"snapshot\.jsonl"):
            memory.restore(snapshot)
        with store.backend.database.read() as connection:
            assert list(connection.iterdump()) == before


def test_a_snapshot_that_is_not_there_is_named(tmp_path: Path) -> None:
    with Store(tmp_path / "mem", embedder=None) as store, pytest.raises(InputError, match=r"cannot read .*absent\.jsonl"):
        store.memory("rag").restore(tmp_path / "absent.jsonl")


def test_a_snapshot_restores_into_another_user_of_another_store(tmp_path: Path) -> None:
    with Store(tmp_path / "one", embedder=None) as store:
        memory = store.memory("notes", user="ada")
        memory.add("My dog is called Biscuit.")
        memory.consolidate()
        notes = [item.text for item in memory.items()]
        saved = memory.snapshot(tmp_path / "snapshot.jsonl")
    with Store(tmp_path / "two", embedder=None) as store:
        store.memory("rag", user="bob").add("I like tea.")
        memory = store.memory("notes", user="bob")
        memory.restore(saved)
        assert [item.text for item in memory.items()] == notes
        assert [message.text for message in memory.messages()] == ["My dog is called Biscuit."]


CANARY = "zebracanary7731"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")
    return path


def _of(lines: list[dict[str, Any]], table: str) -> dict[str, Any]:
    row: dict[str, Any] = next(line["row"] for line in lines if line.get("table") == table)
    return row


def _sql_in_a_name(lines: list[dict[str, Any]]) -> None:
    name = "created_at) SELECT ?, (SELECT group_concat(body) FROM contents), ? WHERE ? IS NOT NULL --"
    _of(lines, "sessions")[name] = "t"


def _another_user(lines: list[dict[str, Any]]) -> None:
    for line in lines[1:]:
        line["row"]["user_id"] = 1


def _another_user_in_capitals(lines: list[dict[str, Any]]) -> None:
    for line in lines[1:]:
        line["row"]["USER_ID"] = 1


def _parts_that_are_none(lines: list[dict[str, Any]]) -> None:
    _of(lines, "contents").update(form="parts", body="not json")


def _a_time_without_zone(lines: list[dict[str, Any]]) -> None:
    _of(lines, "messages")["time"] = "2020"


def _a_content_without_text(lines: list[dict[str, Any]]) -> None:
    lines.append({"table": "contents", "row": {"id": 1}})


def _a_role_that_is_none(lines: list[dict[str, Any]]) -> None:
    _of(lines, "messages")["role"] = "king"


def _a_number_as_text(lines: list[dict[str, Any]]) -> None:
    _of(lines, "messages")["seq"] = "1"


def _a_number_beyond_the_database(lines: list[dict[str, Any]]) -> None:
    _of(lines, "events")["seq"] = 2**70


def _a_message_without_its_event(lines: list[dict[str, Any]]) -> None:
    _of(lines, "messages")["seq"] = 999


def _a_message_in_no_session(lines: list[dict[str, Any]]) -> None:
    _of(lines, "messages")["session_id"] = 999


def _a_message_twice(lines: list[dict[str, Any]]) -> None:
    lines.append(next(line for line in lines if line.get("table") == "messages"))


def _an_edit_of_nothing(lines: list[dict[str, Any]]) -> None:
    event = next(line["row"] for line in lines if line.get("table") == "events" and line["row"]["action"] == "edit")
    event["data"] = '{"before": 999}'


def _data_that_is_deep(lines: list[dict[str, Any]]) -> None:
    _of(lines, "revisions")["data"] = '{"a":' * 50_000 + "1" + "}" * 50_000


def _data_with_a_bad_day(lines: list[dict[str, Any]]) -> None:
    _of(lines, "revisions")["data"] = '{"valid_from": "yesterday"}'


def _data_with_an_infinite_number(lines: list[dict[str, Any]]) -> None:
    _of(lines, "revisions")["data"] = '{"weight": 1e999}'


def _an_event_with_an_infinite_number(lines: list[dict[str, Any]]) -> None:
    _of(lines, "events")["data"] = '{"weight": -1e999}'


def _an_event_with_what_is_no_number(lines: list[dict[str, Any]]) -> None:
    _of(lines, "events")["data"] = '{"weights": [NaN]}'


def _a_revision_of_no_memory(lines: list[dict[str, Any]]) -> None:
    _of(lines, "events").update(action="revise", memory=None)


def _a_vector_of_another_size(lines: list[dict[str, Any]]) -> None:
    _of(lines, "vectors")["vector"] = {"hex": "0000"}


def _a_lone_surrogate(lines: list[dict[str, Any]]) -> None:
    _of(lines, "contents")["body"] = "\ud83d"


def _an_earlier_version(lines: list[dict[str, Any]]) -> None:
    lines[0]["memagent_snapshot"] = 1


def _everything(memory: Memory, store: Store) -> list[str]:
    with store.backend.database.read() as connection:
        return list(connection.iterdump())


CHANGES = [
    value for name, value in list(globals().items()) if name.startswith(("_a_", "_an_", "_another", "_sql", "_parts", "_data"))
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_snapshot_is_refused_and_changes_nothing(tmp_path: Path, change: Any) -> None:
    with Store(tmp_path / "mem", embedder=HashEmbedder()) as store:
        store.memory("rag", user="victim").add(f"my bank pin is {CANARY}")
        memory = store.memory("notes", user="mallory")
        (id,) = memory.add("My dog is called Biscuit.").ids
        memory.consolidate()
        memory.update(id, "My dog is called Waffle.")
        store.memory("rag", user="mallory").consolidate()
        lines = _lines(memory.snapshot(tmp_path / "snapshot.jsonl"))
        change(lines)
        before = _everything(memory, store)
        with pytest.raises(InputError, match=r"changed\.jsonl"):
            memory.restore(_write(tmp_path / "changed.jsonl", lines))
        assert _everything(memory, store) == before
        assert CANARY not in str(memory.items() + memory.history())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"table": "contents", "row": ' + "[" * 100_000, "\udcff", "NaN", '"x"'])
def test_lines_that_are_no_rows_are_refused(tmp_path: Path, text: str) -> None:
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag")
        memory.add("kept")
        saved = memory.snapshot(tmp_path / "snapshot.jsonl")
        saved.write_bytes(saved.read_bytes() + text.encode("utf-8", "surrogateescape") + b"\n")
        with pytest.raises(InputError, match=r"snapshot\.jsonl, line \d+"):
            memory.restore(saved)
        assert [item.text for item in memory.items()] == ["kept"]


@pytest.mark.parametrize("kind", ["rag", "notes", "memocr"])
def test_a_restored_user_is_as_it_was_and_goes_on(tmp_path: Path, kind: str) -> None:
    with Store(tmp_path / "mem", embedder=HashEmbedder()) as store:
        store.memory("rag", user="before").add(["rows", "of others"])
        memory = store.memory(kind, user="ada")
        ids = memory.add(["My dog is called Biscuit.", "I live in Lyon.", "I drive a Fiat."]).ids
        memory.consolidate()
        memory.update(ids[0], "My dog is called Waffle.")
        memory.delete(ids[1])
        memory.purge(ids[2])
        memory.add("I work as a nurse.")
        was = memory.items(), memory.history(), memory.pending_count(), memory.stats()
        saved = memory.snapshot(tmp_path / "snapshot.jsonl")
        memory.purge(everything=True)
        memory.restore(saved)
        assert (memory.items(), memory.history(), memory.pending_count(), memory.stats()) == was
        memory.undo()
        assert "I live in Lyon." in [message.text for message in memory.messages()]
        again = store.memory(kind, user="copy")
        again.restore(saved)
        assert [item.text for item in again.items()] == [item.text for item in was[0]]
        again.consolidate()
        assert "nurse" in str(again.recall("nurse", budget=80).text or again.recall("nurse", budget=80).sources)
        assert len({item.id for item in again.items()} & {item.id for item in store.memory(kind, user="before").items()}) == 0


def test_vectors_of_another_embedder_are_left_behind(tmp_path: Path) -> None:
    with Store(tmp_path / "one", embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        memory.add("My dog is called Biscuit.")
        memory.consolidate()
        assert memory.stats().vectors == 1
        saved = memory.snapshot(tmp_path / "snapshot.jsonl")
    with Store(tmp_path / "two", embedder=HashEmbedder(dimension=64)) as store:
        memory = store.memory("rag")
        memory.add("x")
        memory.consolidate()
        memory.restore(saved)
        assert memory.stats().vectors == 0
        assert memory.search("dog")[0].item.text == "My dog is called Biscuit."
