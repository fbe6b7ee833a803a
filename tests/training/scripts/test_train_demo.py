"""The demo of training: every seed in one report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.scripts import train_demo


@pytest.mark.slow
def test_the_demo_reports_every_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_demo.main(["--out", str(tmp_path), "--seeds", "2", "--steps", "5", "--json"]) == 1  # too short to learn
    out = capsys.readouterr().out
    assert "seed 0: reward" in out
    assert "seed 1: reward" in out
    assert "missed" in out
    report = json.loads((tmp_path / "train_demo.json").read_text())
    assert {row["method"] for row in report["rows"]} == {"seed 0", "seed 1"}
