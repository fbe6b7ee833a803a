"""`memagent chat`: prompts from flag and pipe, errors with their exit codes, and what is stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from invocations import checked, program

from memagent import Store
from memagent.testing.fault_server import FaultServer
from memagent.testing.faults import TEXT


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


@pytest.mark.parametrize(
    ("prompt", "piped", "said"), [("Sum up:", "one\ntwo\n", "Sum up:\n\none\ntwo"), ("Allô ?", "", "Allô ?")]
)
def test_a_pipe_is_read_after_the_prompt(prompt: str, piped: str, said: str, tmp_path: Path, place: tuple[str, ...]) -> None:
    assert program("chat", "-p", prompt, *place, stdin=piped).code == 0
    with Store(tmp_path / "store", embedder=None) as store:
        assert store.memory("long_context").items()[0].text == said


def test_a_chat_without_any_input_ends(place: tuple[str, ...]) -> None:
    command = f"exec {sys.executable} -m memagent chat -p hi {' '.join(place)} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "Noted.\n")


def test_the_address_of_a_server_is_a_setting(tmp_path: Path) -> None:
    program("config", "set", "timeout", "20")
    with FaultServer() as server:
        url = server.url("whole").replace("://", "://bob:hunter2@") + "?key=QSECRET"
        shown = [program("config", "set", "base_url", url), program("config", "show"), program("config", "show", "--json")]
        ended = program("chat", "-p", "hi", "-m", "lmstudio:m", "--no-memory")
    assert (ended.code, ended.out) == (0, f"{TEXT}\n")
    for one in shown:
        assert one.code == 0
        assert not any(secret in one.out + one.err for secret in ("hunter2", "QSECRET"))
    assert "/whole/v1" in shown[1].out


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("base_url", "localhost:8000", 2), ("timeout", "soon", 3), ("timeout", "0", 3), ("timeout", "-1", 3)],
)
def test_settings_of_servers_that_cannot_be_are_refused(name: str, value: str, code: int) -> None:
    assert program("config", "set", "--", name, value).code == code


def test_a_server_that_the_folder_names_is_not_spoken_to(
    tmp_path: Path, place: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("memagent.cli.common._ANNOUNCED", set())
    with FaultServer() as server:
        (tmp_path / "memagent.toml").write_text(f'base_url = "{server.url("whole")}"\nmodel = "openai:m"\ntimeout = 5\n')
        folder = program("chat", "-p", "hi", *place[2:])
        assert (folder.code, server.asked) == (3, [])
        assert "by memagent.toml of this folder: model openai:m" in folder.err
        named = program("chat", "-p", "hi", "--config", "memagent.toml", *place[2:])
        assert (named.code, named.out, len(server.asked)) == (0, f"{TEXT}\n", 1)
