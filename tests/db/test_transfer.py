"""Exports and snapshots: private, whole or not at all, and refused by the line when they are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memagent.errors import InputError
from memagent.store import Store


def test_an_export_is_private_json_lines_with_a_version(tmp_path: Path) -> None:
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add("My dog is called Biscuit.", session="monday")
        memory.delete(memory.add("hidden").ids[0])
        assert memory.export_file(tmp_path / "out" / "ada.jsonl") == 1
    file = tmp_path / "out" / "ada.jsonl"
    first, *rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert first == {"memagent_export": 1, "user": "ada", "messages": 1}
    assert [(row["session"], row["role"], row["content"]) for row in rows] == [("monday", "user", "My dog is called Biscuit.")]
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["ada.jsonl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]\n", "line 1 is not a JSON object"),
        ("{}\n", "does not start with"),
        ('{"memagent_export": 1}\n{"role": "user"}\n', "line 2: content"),
        ('{"memagent_export": 1}\nnot json\n', "line 2 is not JSON"),
    ],
)
def test_a_file_that_is_no_export_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "file.jsonl").write_text(text)
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag")
        with pytest.raises(InputError, match=message):
            memory.import_file(tmp_path / "file.jsonl")
        assert memory.messages() == []


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
