"""`memagent chat`: one question, pipes, JSON, errors, and the loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
    command = [sys.executable, "-m", "memagent.cli.main", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, check=False, timeout=120)


@pytest.mark.parametrize("kind", ["rag", "long-context", "notes", "memocr"])
def test_what_one_process_is_told_another_recalls(kind: str, tmp_path: Path) -> None:
    place = ("--store", str(tmp_path), "--embedder", "none", "-m", "fake", "--memory", kind)
    told = run("chat", "--session", "a", *place, stdin="My dog is called Biscuit and I live in Lyon.")
    assert (told.returncode, told.stdout) == (0, "Noted.\n")
    asked = run("chat", "--json", *place, stdin="What is my dog called?")
    answer = json.loads(asked.stdout)
    assert set(answer) == {
        "version", "answer", "session_id", "model", "memory", "usage", "timings", "stop_reason", "error",
    }  # fmt: skip
    assert "Biscuit" in answer["answer"]
    assert any("Biscuit" in one["text"] and one["messages"] for one in answer["memory"])
    assert answer["session_id"] != "a"


def test_json_lines_end_in_the_whole_answer(tmp_path: Path) -> None:
    done = run("chat", "-p", "hi", "--json", "--stream", "-m", "fake", "--store", str(tmp_path))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines][-1] == "answer"
    assert "".join(line["text"] for line in lines[:-1]) == lines[-1]["answer"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-m", "fak", "-p", "hi"), 3, "fake"),
        (("-m", "fake", "--budget", "0", "-p", "hi"), 2, "1 or more"),
        (("-m", "fake", "--budget", "-5", "-p", "hi"), 2, "1 or more"),
        (("-m", "fake", "--memory", "ragg", "-p", "hi"), 3, "rag"),
        (("-m", "openai:gpt-5", "-p", "hi"), 3, "OPENAI_API_KEY"),
        (("-m", "scripted:/nowhere.jsonl", "-p", "hi"), 3, "nowhere"),
        (("-m", "fake", "-p", " "), 2, "empty"),
        (("-m", "fake", "-p", "x" * 100, "--config", "/nowhere.toml"), 3, "nowhere.toml"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(arguments: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    plain = run("chat", "--store", str(tmp_path), *arguments)
    assert plain.returncode == code, plain.stderr
    assert said in plain.stderr
    assert plain.stdout == ""
    as_json = run("chat", "--store", str(tmp_path), "--json", *arguments)
    assert said in json.loads(as_json.stdout)["error"]["message"]


def test_a_damaged_store_exits_5_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "memory.db").write_bytes(b"a diary" * 500)
    done = run("chat", "-m", "fake", "-p", "hi", "--store", str(tmp_path))
    assert done.returncode == 5
    assert (tmp_path / "memory.db").read_bytes() == b"a diary" * 500


def test_read_only_and_no_memory_write_nothing(tmp_path: Path) -> None:
    place = ("--store", str(tmp_path), "-m", "fake")
    run("chat", *place, "-p", "My dog is called Biscuit.", "--read-only")
    run("chat", *place, "-p", "My dog is called Biscuit.", "--no-memory")
    listed = run("memory", "list", "--store", str(tmp_path), "--json")
    assert "Biscuit" not in listed.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['memagent', '--help']\n"
        "from memagent.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'faiss', 'openai', 'xllamacpp', 'rapidocr', 'playwright', 'numpy',"
        " 'prompt_toolkit') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "130 interrupted" in " ".join(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, memagent; print([n for n in ('torch', 'faiss', 'openai', 'numpy', 'skia') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_loop_talks_takes_commands_and_leaves(tmp_path: Path) -> None:
    import pty

    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
    command = [
        sys.executable,
        "-m",
        "memagent.cli.main",
        "chat",
        "-m",
        "fake",
        "--store",
        str(tmp_path),
        "--embedder",
        "none",
    ]
    process = subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    os.close(slave)
    lines = ["My dog is called Biscuit.", "What is my dog called?", "/why", "/memry", "//slash", "/budget x", "/exit"]
    os.write(master, "".join(f"{line}\n" for line in lines).encode())
    out, err = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 0, err
    assert b"My dog is called Biscuit." in out
    assert b"did you mean /memory?" in err
    assert b"not 'x'" in err
