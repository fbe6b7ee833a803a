"""One question: the JSON of every outcome, interruptions, slow steps, and the order of answer and distilling."""

from __future__ import annotations

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
from ptys import SLOW

from memagent import Store, config
from memagent.cli import common, json_output
from memagent.cli.chat import once
from memagent.cli.chat.session import ChatOptions, open_chat
from memagent.config import load_settings
from memagent.errors import MissingKey, ModelError
from memagent.models.base import Reply, Request
from memagent.models.fake import FakeModel
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent.types import Message

FIELDS: dict[str, tuple[type, ...]] = {
    "version": (int,),
    "answer": (str, type(None)),
    "session_id": (str, type(None)),
    "model": (str, type(None)),
    "memory": (list,),
    "usage": (dict,),
    "timings": (dict,),
    "stop_reason": (str, type(None)),
    "error": (dict, type(None)),
}
"""Version 1 of the envelope: a change here is a new version."""


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The object, if it is an envelope of version 1."""
    assert body["version"] == json_output.JSON_VERSION == 1
    assert body.keys() - {"type"} == FIELDS.keys()
    for name, kinds in FIELDS.items():
        assert isinstance(body[name], kinds), name
    assert body["usage"].keys() == {"text_in", "text_out", "visual", "calls", "seconds"}
    assert all(one.keys() == {"id", "text", "score", "messages"} for one in body["memory"])
    assert (body["error"] is None) != (body["answer"] is None)
    if body["error"] is not None:
        assert body["error"].keys() == {"code", "message", "retryable"}
    return body


def start(*arguments: str, program: str = "from memagent.cli.main import main; main()") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def run(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, ...]:
    return ("--store", str(tmp_path / "store"), "--embedder", "none")


# -- the envelope -----------------------------------------------------------------------------------------------------


def test_an_answer(place: tuple[str, ...]) -> None:
    run("chat", "-m", "fake", "-p", "My dog is called Biscuit.", "--session", "a", *place)
    code, out, err = run("chat", "-m", "fake", "-p", "What is my dog called?", "--session", "b", "--json", *place)
    body = checked(json.loads(out))
    assert (code, err) == (0, "")
    assert (body["answer"], body["session_id"], body["model"]) == ("My dog is called Biscuit.", "b", "fake")
    assert body["memory"][0]["messages"] == ["m1"]
    assert body["usage"]["calls"] == 1
    assert {"recall", "first_token", "total"} == body["timings"].keys()


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (("--bogus",), 2, "usage"),
        (("-p",), 2, "usage"),
        (("-p", " "), 2, "input"),
        (("-p", "hi", "-m", "fak"), 3, "unknown_name"),
        (("-p", "hi", "-m", "fake", "--budget", "0"), 2, "budget"),
        (("-p", "hi", "-m", "openai:x"), 3, "missing_key"),
        (("-p", "hi", "-m", "fake", "-c", "--session", "a"), 2, "input"),
        (("-p", "hi", "-m", "fake", "--session", "a\tb"), 2, "input"),
    ],
)
def test_an_error_before_the_chat(arguments: tuple[str, ...], code: int, kind: str, place: tuple[str, ...]) -> None:
    ended, out, err = run("chat", "--json", *place, *arguments)
    assert (ended, checked(json.loads(out))["error"]["code"], err) == (code, kind, "")


@pytest.mark.parametrize("lines", [False, True])
def test_a_model_that_fails(place: tuple[str, ...], tmp_path: Path, lines: bool) -> None:
    (tmp_path / "script.jsonl").write_text('{"match": "never asked", "text": "x"}\n')
    stream = ("--stream",) if lines else ()
    code, out, _ = run("chat", "-p", "hi", "-m", f"scripted:{tmp_path}/script.jsonl", "--json", *stream, *place)
    last = json.loads(out.splitlines()[-1])
    body = checked(last)
    assert (code, body["error"]["code"], body["error"]["retryable"]) == (4, "model", False)
    assert last.get("type") == ("error" if lines else None)
    with Store(tmp_path / "store", embedder=None) as store:
        assert [item.text for item in store.memory("rag").items()] == ["hi"]
        assert store.sessions()[0].name == body["session_id"]


def test_a_missing_key_says_how_to_keep_one_and_a_kept_one_is_used() -> None:
    with pytest.raises(MissingKey, match="memagent keys set openai"):
        common.load("openai:x")
    config.save_key("openai", "sk-kept")
    with common.load("openai:x") as model:
        assert isinstance(model, OpenAICompatibleModel)
        assert model._key == "sk-kept"


def test_an_unexpected_error_exits_1_in_one_line() -> None:
    broken = "from memagent.cli.chat import once\ndef fail(*a, **k): raise KeyError('x')\nonce.start_turn = fail\n"
    program = broken + "from memagent.cli.main import main; main()"
    process = start("chat", "-m", "fake", "-p", "hi", "--no-memory", program=program)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, len(err.splitlines())) == (1, "", 1)
    assert "unexpected KeyError" in err
    process = start("chat", "-m", "fake", "-p", "hi", "--no-memory", "--json", program=program)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, checked(json.loads(out))["error"]["code"]) == (1, "unexpected")
    process = start("chat", "-m", "fake", "-p", "hi", "--no-memory", "--debug", program=program)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" in err


# -- interruption -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
@pytest.mark.parametrize("form", ["text", "json", "lines"])
def test_ctrl_c_exits_130_and_keeps_what_was_said(form: str, place: tuple[str, ...], tmp_path: Path) -> None:
    flags = {"text": (), "json": ("--json",), "lines": ("--json", "--stream")}[form]
    program = SLOW.replace("fcntl.ioctl(0, termios.TIOCSCTTY, 0)", "")
    process = start("chat", "-m", "slow", "-p", "hi", *flags, *place, program=program)
    _wait_for_a_message(tmp_path / "store")
    time.sleep(0.3)
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


def _wait_for_a_message(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (folder / "memory.db").exists():
            with Store(folder, embedder=None) as store:
                if store.sessions():
                    return
        time.sleep(0.05)
    raise AssertionError("nothing was stored")


# -- in this process --------------------------------------------------------------------------------------------------


class Down(FakeModel):
    """Its provider is out of order."""

    def _stream(self, request: Request) -> Iterator[str]:  # type: ignore[override]
        raise ModelError("down", retryable=True, status=503)
        yield Reply(text="")  # type: ignore[unreachable]


def test_the_answer_is_out_before_the_memory_distils(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = load_settings({"model": "fake", "embedder": "none", "store": tmp_path, "memory": "notes"})
    with open_chat(chosen, ChatOptions(), stream=True) as opened:
        memory, out = opened.agent.memory, []
        assert memory is not None
        consolidate = memory.consolidate

        def late(**options: Any) -> object:
            out.append(capsys.readouterr().out)
            return consolidate(**options)

        memory.consolidate = late  # type: ignore[method-assign, assignment]
        once.as_text(opened, "My dog is called Biscuit.")
        assert out == ["Noted.\n"]
        assert memory.pending_count() == 0


def test_distilling_that_fails_is_said_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {"model": "fake", "embedder": "none", "store": tmp_path, "memory": "notes", "memory_model": "garbage"}
    with open_chat(load_settings(flags), ChatOptions(), stream=True) as opened:
        once.as_text(opened, "My dog is called Biscuit.")
        assert opened.agent.memory is not None
        assert opened.agent.memory.pending_count() > 0
    said = capsys.readouterr()
    assert said.out == "Noted.\n"
    assert "consolidating the memory failed (it is tried again later)" in said.err
    assert "not json" in said.err


def test_a_slow_step_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(common, "SLOW_STEP_SECONDS", 0.02)
    with common.waiting("searching the memory"):
        time.sleep(0.2)
    with common.waiting("a fast step"):
        pass
    time.sleep(0.1)
    assert capsys.readouterr().err == "... searching the memory\n"


def test_a_retryable_failure_of_the_provider(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = load_settings({"model": "fake", "embedder": "none", "store": tmp_path})
    with open_chat(chosen, ChatOptions(session="s"), stream=True) as opened:
        opened.set_model(Down())
        with pytest.raises(SystemExit, match="4"):
            once.as_json(opened, "hi", lines=False)
    body = checked(json.loads(capsys.readouterr().out))
    assert body["error"] == {"code": "model", "message": "down", "retryable": True}
    assert (body["session_id"], body["model"]) == ("s", "fake")


def test_control_characters_of_a_model_reach_a_pipe_but_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = load_settings({"model": "fake", "embedder": "none", "store": tmp_path})
    with open_chat(chosen, ChatOptions(no_memory=True), stream=True) as opened:
        opened.set_model(FakeModel("a\x1b[2Jb"))
        once.as_text(opened, "hi")
        assert capsys.readouterr().out == "a\x1b[2Jb\n"
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        once.as_text(opened, "hi")
        assert "\x1b" not in capsys.readouterr().out


def test_messages_of_earlier_turns_are_seen_in_a_session_taken_up(tmp_path: Path) -> None:
    chosen = load_settings({"model": "fake", "embedder": "none", "store": tmp_path})
    with open_chat(chosen, ChatOptions(session="s"), stream=False) as opened:
        once.as_text(opened, "My dog is called Biscuit.")
    with open_chat(chosen, ChatOptions(resume=True), stream=False) as opened:
        recent: list[Message] = opened.agent.turns
        assert [message.text for message in recent] == ["My dog is called Biscuit.", "Noted."]
