"""Exports: private, whole or not at all, refused by the line when they are not ours, and merged by their ids."""

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
        ("", "does not start with"),
        ('\n{"role": "user", "content": "no header"}\n', "does not start with"),
        ('{"memagent_export": 1}\n' + "[" * 100_000 + "\n", "line 2 is not JSON"),
        ('{"memagent_export": 1}\n{"role": "user", "content": ' + "[" * 100_000 + "\n", "line 2 is not JSON"),
        ('{"memagent_export": 1}\n{"role": "king", "content": "x"}\n', "line 2: role"),
        ('{"memagent_export": 1}\n{"role": "user", "content": "x", "session": 5}\n', "line 2: session"),
        ('{"memagent_export": 1}\n{"role": "user", "content": "x", "session": "a\\nb"}\n', "printable"),
        ('{"memagent_export": 1}\n{"role": "user", "content": "\\ud83d"}\n', "line 2: .*surrogate"),
        ('{"memagent_export": 1}\n{"role": "user", "content": "x", "id": "\\ud83d"}\n', "line 2: .*surrogate"),
        ('{"memagent_export": 1}\n{"role": "user", "content": "x", "time": "2026-05-05"}\n', "line 2: time"),
        ('{"memagent_export": 1}\n{"role": "user", "content": "x", "time": 1e400}\n', "line 2: time"),
    ],
)
def test_a_file_that_is_no_export_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "file.jsonl").write_text(text)
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag")
        with pytest.raises(InputError, match=message):
            memory.import_file(tmp_path / "file.jsonl")
        assert memory.messages() == []


@pytest.mark.parametrize("coding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_named(tmp_path: Path, coding: str) -> None:
    (tmp_path / "file.jsonl").write_text('{"memagent_export": 1}\n{"role": "user", "content": "caf\u00e9"}\n', coding)
    with Store(tmp_path / "mem", embedder=None) as store, pytest.raises(InputError, match=r"line \d is not (UTF-8|JSON)"):
        store.memory("rag").import_file(tmp_path / "file.jsonl")


def test_a_byte_order_mark_and_blank_lines_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file.jsonl").write_text('\n{"memagent_export": 1}\n\n{"role": "user", "content": "x"}\n', "utf-8-sig")
    with Store(tmp_path / "mem", embedder=None) as store:
        assert store.memory("rag").import_file(tmp_path / "file.jsonl").outcomes[0].action == "added"


def test_a_bad_line_far_down_leaves_nothing_and_lines_without_ids_are_read_once(tmp_path: Path) -> None:
    lines = [json.dumps({"role": "user", "content": f"line {number % 300}"}) for number in range(700)]
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text("\n".join(['{"memagent_export": 1}', *lines]))
    bad.write_text("\n".join(['{"memagent_export": 1}', *lines, '{"role": "user"}']))
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag")
        with pytest.raises(InputError, match="line 702"):
            memory.import_file(bad)
        assert memory.messages() == []
        for _ in range(2):
            memory.import_file(good)
            assert len(memory.messages()) == 700


def test_an_import_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "mem", embedder=None) as store:
        memory = store.memory("rag")
        memory.add([f"message {number}" for number in range(1_200)])
        memory.export_file(tmp_path / "export.jsonl")
        other = store.memory("rag", user="other")

        def stop(done: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            other.import_file(tmp_path / "export.jsonl", progress=stop)
        assert other.messages() == []
        assert "other" not in store.users()
