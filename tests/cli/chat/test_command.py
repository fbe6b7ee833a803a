"""`memagent chat`: prompts from flag and pipe, errors with their exit codes, and what is stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from invocations import checked, program


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, ...]:
    return ("-m", "fake", "--store", str(tmp_path / "store"), "--embedder", "none")


@pytest.mark.parametrize("kind", ["rag", "long-context", "notes", "memocr"])
def test_what_is_said_in_one_session_is_recalled_in_another(kind: str, place: tuple[str, ...]) -> None:
    told = program("chat", "--session", "a", "--memory", kind, *place, stdin="My dog is called Biscuit and I live in Lyon.")
    assert (told.code, told.out) == (0, "Noted.\n")
    answer = checked(json.loads(program("chat", "--json", "--memory", kind, *place, stdin="What is my dog called?").out))
    assert "Biscuit" in answer["answer"]
    assert any("Biscuit" in one["text"] and one["messages"] for one in answer["memory"])
    assert answer["session_id"] != "a"


def test_another_process_recalls_it_by_the_module(place: tuple[str, ...]) -> None:
    program("chat", "-p", "My dog is called Biscuit.", *place)
    command = [sys.executable, "-m", "memagent", "chat", "-p", "What is my dog called?", *place]
    assert "Biscuit" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_json_lines_end_in_the_whole_answer(place: tuple[str, ...]) -> None:
    done = program("chat", "-p", "hi", "--json", "--stream", *place)
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["type"] for line in lines][-1] == "answer"
    assert "".join(line["text"] for line in lines[:-1]) == lines[-1]["answer"]


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "said"),
    [
        (("--bogus",), 2, "usage", "bogus"),
        (("-p",), 2, "usage", "requires an argument"),
        (("-p", " "), 2, "input", "empty"),
        (("hi", "there"), 2, "input", "memagent chat -p 'hi there'"),
        (("-p", "hi", "--budget", "0"), 2, "budget", "1 or more"),
        (("-p", "hi", "--budget", "-5"), 2, "budget", "1 or more"),
        (("-p", "hi", "-c", "--session", "a"), 2, "input", "one of the two"),
        (("-p", "hi", "--session", "a\tb"), 2, "input", "printable"),
        (("-p", "hi", "-m", "fak"), 3, "unknown_name", "fake"),
        (("-p", "hi", "--memory", "ragg"), 3, "unknown_name", "rag"),
        (("-p", "hi", "-m", "openai:gpt-5"), 3, "missing_key", "OPENAI_API_KEY"),
        (("-p", "hi", "-m", "scripted:/nowhere.jsonl"), 3, "config", "nowhere"),
        (("-p", "hi", "--config", "/nowhere.toml"), 3, "config", "nowhere.toml"),
    ],
)
def test_errors_are_one_line_or_one_object_with_an_exit_code(
    arguments: tuple[str, ...], code: int, kind: str, said: str, place: tuple[str, ...]
) -> None:
    plain = program("chat", *place, *arguments)
    assert (plain.code, plain.out) == (code, "")
    assert said in plain.err
    as_json = program("chat", "--json", *place, *arguments)
    error = checked(json.loads(as_json.out))["error"]
    assert (as_json.code, error["code"], as_json.err) == (code, kind, "")
    assert said in error["message"]


def test_a_damaged_store_exits_5_and_is_left_alone(tmp_path: Path, place: tuple[str, ...]) -> None:
    file = tmp_path / "store" / "memory.db"
    file.parent.mkdir()
    file.write_bytes(b"a diary" * 500)
    assert program("chat", "-p", "hi", *place).code == 5
    assert file.read_bytes() == b"a diary" * 500


@pytest.mark.parametrize("flag", ["--read-only", "--no-memory"])
def test_a_chat_that_stores_nothing_makes_no_store(flag: str, tmp_path: Path, place: tuple[str, ...]) -> None:
    assert program("chat", *place, "-p", "My dog is called Biscuit.", flag).code == 0
    assert not (tmp_path / "store" / "memory.db").exists()
