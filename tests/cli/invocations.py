"""Runs the program as a user would: in this process, or a single command with its errors raised."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import typer
from click.testing import Result
from typer.testing import CliRunner

from memagent.cli import amemgym, config, doctor, import_, json_output, keys, memory, models, render, sessions
from memagent.cli.chat.session import ChatOptions, ChatSession, open_chat
from memagent.cli.main import main
from memagent.config import load_settings

REPOSITORY = Path(__file__).parents[2]
APPS: dict[str, typer.Typer] = {
    "memory": memory.app,
    "sessions": sessions.app,
    "keys": keys.app,
    "config": config.app,
    "amemgym": amemgym.app,
}
COMMANDS = {
    "models": models.command,
    "doctor": doctor.command,
    "render": render.command,
    "import": import_.command,
}


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
"""Version 1 of the JSON object of a chat: a change here is a new version."""


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a chat, if it is one of version 1."""
    assert body["version"] == json_output.JSON_VERSION == 1
    assert body.keys() - {"type"} == FIELDS.keys()
    for name, kinds in FIELDS.items():
        assert isinstance(body[name], kinds), name
    assert body["usage"].keys() == {"text_in", "text_out", "visual", "calls", "seconds"}
    assert all(one.keys() == {"id", "text", "score", "messages", "role", "speaker", "time"} for one in body["memory"])
    assert (body["error"] is None) != (body["answer"] is None)
    if body["error"] is not None:
        assert body["error"].keys() - {"partial"} == {"code", "message", "retryable"}
    return body


class Ended(NamedTuple):
    """How a run of the program ended."""

    code: int
    out: str
    err: str


def program(*arguments: object, stdin: str = "") -> Ended:
    """`memagent ARGUMENTS` in this process, exit code and all."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "stdin", io.StringIO(stdin)),
        patch.object(sys, "argv", ["memagent", *map(str, arguments)]),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


def start(*arguments: str, code: str = "from memagent.cli.main import main; main()") -> subprocess.Popen[str]:
    """The program, or some code that runs it, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def opened(
    folder: Path, options: ChatOptions | None = None, *, stream: bool = True, **flags: object
) -> AbstractContextManager[ChatSession]:
    """A chat with the model `fake`, in this process."""
    chosen = load_settings({"model": "fake", "embedder": "none", "store": folder / "store", **flags})
    return open_chat(chosen, options or ChatOptions(session="s"), stream=stream)


def _app() -> typer.Typer:
    app = typer.Typer()
    for name, group in APPS.items():
        app.add_typer(group, name=name)
    for name, command in COMMANDS.items():
        app.command(name)(command)
    return app


def invoke(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(_app(), [str(one) for one in arguments], input=stdin)  # type: ignore[return-value]


def run(*arguments: object, stdin: str | None = None) -> str:
    result = invoke(*arguments, stdin=stdin)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def data(*arguments: object, stdin: str | None = None) -> dict[str, Any]:
    lines = run(*arguments, "--json", stdin=stdin).splitlines()
    assert len(lines) == 1
    found: dict[str, Any] = json.loads(lines[0])
    assert found.pop("version") == 1
    return found


def added(text: str, *more: str) -> str:
    """Remember a fact; returns its id."""
    return str(data("memory", "add", text, *more)["receipt"]["outcomes"][0]["id"])
