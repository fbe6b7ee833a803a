"""Runs of the AMemGym bench on made-up users by models that are paid, and looking into what they leave."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from memagent.cli.bench import app
from memagent.environments.amemgym.run import AmemgymSettings
from memagent.environments.amemgym.run import run as run_all
from memagent.evaluation.report import Report
from memagent.evaluation.runner import SILENT, Progress

PERIODS, QUESTIONS = 3, 4
METHODS = ("rag", "awi")
USERS = ("u0", "u1")


def settings(data: Path, **values: Any) -> AmemgymSettings:
    return AmemgymSettings(
        **{"model": "paid", "user_model": "player", "methods": METHODS, "data": data, "embedder": None, **values}
    )


def run(settings: AmemgymSettings, *, say: Any = None, **values: Any) -> Report:
    [report] = run_all(settings, progress=SILENT if say is None else Progress(say), **values)
    return report


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["amemgym", *map(str, arguments)])


def tree(folder: Path) -> dict[str, str]:
    """Digests of all files but the cache of calls."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith("calls.sqlite")
    }


def load(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def value(report: Report, method: str, metric: str, at: int | str = "mean") -> float:
    [found] = [row.value for row in report.rows if (row.method, row.metric, row.at) == (method, metric, at)]
    return found
