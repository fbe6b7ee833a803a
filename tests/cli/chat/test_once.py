"""One question: what is printed and stored when it is answered, fails, or is interrupted."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.slow import slow
from invocations import checked, opened, program, start
from ptys import SLOW

from memagent import Store
from memagent.cli.chat import once
from memagent.cli.chat.session import ChatOptions
from memagent.errors import ModelError
from memagent.models.base import Reply, Request
from memagent.models.fake import FakeModel

# -- as JSON ----------------------------------------------------------------------------------------------------------


def test_an_answer_names_the_messages_behind_it(tmp_path: Path) -> None:
    place = ("-m", "fake", "--store", tmp_path, "--embedder", "none")
    program("chat", "-p", "My dog is called Biscuit.", "--session", "a", *place)
    ended = program("chat", "-p", "What is my dog called?", "--session", "b", "--json", *place)
    body = checked(json.loads(ended.out))
    assert (ended.code, ended.err) == (0, "")
    assert (body["answer"], body["session_id"], body["model"]) == ("My dog is called Biscuit.", "b", "fake")
    assert [id.split("-")[0] for id in body["memory"][0]["messages"]] == ["m1"]
    assert body["usage"]["calls"] == 1
    assert {"recall", "first_token", "total"} == body["timings"].keys()


@pytest.mark.parametrize("lines", [False, True])
def test_a_model_that_fails_leaves_the_question_in_the_store(tmp_path: Path, lines: bool) -> None:
    (tmp_path / "script.jsonl").write_text('{"match": "never asked", "text": "x"}\n')
    place = ("-m", f"scripted:{tmp_path}/script.jsonl", "--store", tmp_path / "store", "--embedder", "none")
    ended = program("chat", "-p", "hi", "--json", *(("--stream",) if lines else ()), *place)
    last = json.loads(ended.out.splitlines()[-1])
    body = checked(last)
    assert (ended.code, body["error"]["code"], body["error"]["retryable"]) == (4, "model", False)
    assert last.get("type") == ("error" if lines else None)
    with Store(tmp_path / "store", embedder=None) as store:
        assert [item.text for item in store.memory("rag").items()] == ["hi"]
        assert store.sessions()[0].name == body["session_id"]


class Down(FakeModel):
    """Its provider is out of order."""

    def _stream(self, request: Request) -> Iterator[str]:  # type: ignore[override]
        raise ModelError("down", retryable=True, status=503)
        yield Reply(text="")  # type: ignore[unreachable]


def test_a_retryable_failure_of_the_provider(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path) as chat:
        chat.set_model(Down())
        with pytest.raises(SystemExit, match="4"):
            once.as_json(chat, "hi", lines=False)
    body = checked(json.loads(capsys.readouterr().out))
    assert body["error"] == {"code": "model", "message": "down", "retryable": True}
    assert (body["session_id"], body["model"]) == ("s", "fake")


# -- interruption -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
@pytest.mark.parametrize("form", ["text", slow("json"), slow("lines")])
def test_ctrl_c_exits_130_and_stores_the_answer_so_far(form: str, tmp_path: Path) -> None:
    flags = {"text": (), "json": ("--json",), "lines": ("--json", "--stream")}[form]
    code = SLOW.replace("fcntl.ioctl(0, termios.TIOCSCTTY, 0)", "")
    place = ("--store", str(tmp_path / "store"), "--embedder", "none")
    process = start("chat", "-m", "slow", "-p", "hi", *flags, *place, code=code)
    _wait_for_a_message(tmp_path / "store")
    time.sleep(3)  # until it speaks; it does for 8 s
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    with Store(tmp_path / "store", embedder=None) as store:
        said, partial = store.memory("long_context").items()
    assert (said.text, partial.origin) == ("hi", "partial")
    if form == "text":
        assert out == f"{partial.text}\n"
    else:
        body = checked(json.loads(out.splitlines()[-1]))
        assert (body["answer"], body["stop_reason"]) == (partial.text, "interrupted")


@pytest.mark.parametrize("lines", [False, True])
def test_an_output_that_is_closed_stores_the_answer_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: bool
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with opened(tmp_path) as chat:
        chat.set_model(FakeModel("You live in Lyon."))
        monkeypatch.setattr(sys, "stdout", Closed())
        with pytest.raises(BrokenPipeError):
            once.as_json(chat, "hi", lines=True) if lines else once.as_text(chat, "hi")
        monkeypatch.undo()
        assert chat.agent.memory is not None
        said, partial = chat.agent.memory.items()
        assert (said.text, partial.origin) == ("hi", "partial")
        assert partial.text


def _wait_for_a_message(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (folder / "memory.db").exists():
            with Store(folder, embedder=None) as store:
                if store.sessions():
                    return
        time.sleep(0.05)
    raise AssertionError("nothing was stored")


# -- as text ----------------------------------------------------------------------------------------------------------


def test_the_answer_is_printed_before_the_memory_consolidates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path, memory="notes") as chat:
        memory, printed = chat.agent.memory, []
        assert memory is not None
        consolidate = memory.consolidate

        def late(**options: Any) -> object:
            printed.append(capsys.readouterr().out)
            return consolidate(**options)

        memory.consolidate = late  # type: ignore[method-assign, assignment]
        once.as_text(chat, "My dog is called Biscuit.")
        assert printed == ["Noted.\n"]
        assert memory.pending_count() == 0


def test_a_consolidation_that_fails_is_reported_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path, memory="notes", memory_model="garbage") as chat:
        once.as_text(chat, "My dog is called Biscuit.")
        assert chat.agent.memory is not None
        assert chat.agent.memory.pending_count() > 0
    printed = capsys.readouterr()
    assert printed.out == "Noted.\n"
    assert "consolidating the memory failed (it is tried again later)" in printed.err


def test_control_characters_of_a_model_reach_a_pipe_but_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path, ChatOptions(no_memory=True)) as chat:
        chat.set_model(FakeModel("a\x1b[2Jb"))
        once.as_text(chat, "hi")
        assert capsys.readouterr().out == "a\x1b[2Jb\n"
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        once.as_text(chat, "hi")
        assert "\x1b" not in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("flags", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_words_are_not_broken_at_the_edge_of_a_terminal(tmp_path: Path, flags: tuple[str, ...]) -> None:
    import fcntl
    import pty
    import struct
    import termios

    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps("A sustainable garbage truck collects whatever the neighbourhood throws away. " * 3))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 24, 0, 0))
    command = [sys.executable, "-m", "memagent", "chat", "-p", "hi", "-m", f"scripted:{script}", "--no-memory", *flags]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, env=environment) as process:
        process.wait(60)
    shown = os.read(master, 65536).decode()
    os.close(slave)
    os.close(master)
    lines = shown.split("\r\n")
    assert max(map(len, lines)) <= 24
    assert " ".join(shown.split()).startswith(
        "A sustainable garbage truck collects whatever the neighbourhood throws away. A sus"
    )
