"""Runs companion commands as a user would, without a process of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from click.testing import Result
from typer.testing import CliRunner

from memagent.cli import amemgym, config, doctor, import_, keys, memory, models, render, sessions

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
