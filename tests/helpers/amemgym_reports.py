"""Running `memagent amemgym` and looking into its reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from memagent.cli.amemgym import app


def run(*arguments: object) -> dict[str, Any]:
    """What a command prints with `--json`; its error is raised."""
    result = CliRunner().invoke(app, [str(one) for one in (*arguments, "--json")])
    if result.exception is not None:
        raise result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def curve_of(report: dict[str, Any], metric: str = "accuracy", method: str = "results") -> list[float]:
    """The values by period."""
    return [
        one["value"] for one in report["rows"] if (one["method"], one["metric"]) == (method, metric) and one["at"] != "mean"
    ]


def mean_of(report: dict[str, Any], metric: str = "accuracy", method: str = "results") -> float | None:
    """The mean over periods; None where there is none."""
    means = [one["value"] for one in report["rows"] if (one["method"], one["metric"], one["at"]) == (method, metric, "mean")]
    return means[0] if means else None


def write(path: Path, value: object) -> Path:
    """A JSON file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
    return path
