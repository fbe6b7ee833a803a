"""The laptop scripts as their users start them, made small: tables, pictures, and a run that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_laptop_policy import SMALL

from training.experiments.memocr import demo, run, run_tokens
from training.experiments.memocr.exhibit import Column, exhibit
from training.experiments.memocr.settings import SizeSettings
from training.experiments.memocr.study import Study

ROOT = Path(__file__).parents[2]


def test_an_exhibit_shows_both_pages_at_every_size(tmp_path: Path) -> None:
    study = Study(tmp_path, SMALL)
    columns = [Column(arm, study.drafted(arm, 1, questions=1)[0]) for arm in ("none", "full")]
    exhibit(columns, tmp_path / "shown.png", tokens=(16,), mode="shrink")
    with Image.open(tmp_path / "shown.png") as image:
        assert image.width > 1200
        assert image.height > 300
        colours = image.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert len(colours) > 50


def test_unknown_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--colour", "red"])
    assert "--colour" in capsys.readouterr().err


def test_a_folder_of_another_run_is_refused_in_one_line(tmp_path: Path) -> None:
    Study(tmp_path, SMALL)
    command = [sys.executable, "-m", "training.experiments.memocr.run", "--out", str(tmp_path), "--modes", "shrink"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode != 0
    assert "other settings" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_study_prints_its_tables_and_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "_settings", lambda mode, steps: replace(SMALL, mode=mode))
    flags = ["--out", str(tmp_path), "--seeds", "1", "2", "--questions", "2", "--full-size-questions", "1"]
    flags += ["--arms", "none", "full"]
    flags += ["--budgets", "1024", "64", "16", "--workers", "2"]
    run.main(flags)
    shown = capsys.readouterr().out
    assert shown.count("| full |") == 2
    assert "| render_and_read |" in shown
    report = json.loads((tmp_path / "memocr_laptop.json").read_text("utf-8"))
    assert report["meta"]["shrink"]["failures"]["count"] == 0
    assert report["meta"]["fit"]["eye_agreement"]["cells"] == 2 * 2 * 3
    assert (tmp_path / "density-fit.png").exists()
    assert (tmp_path / "accuracy.png").exists()
    lines = (tmp_path / "shrink" / "readings.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 2 * 2 * (2 + 2 + 1)
    run.main(flags)
    assert capsys.readouterr().out == shown
    assert (tmp_path / "shrink" / "readings.jsonl").read_text("utf-8").splitlines() == lines


@pytest.mark.slow
def test_a_killed_study_goes_on_and_reads_nothing_twice(tmp_path: Path) -> None:
    """Killed while it reads, and the readers with it; the same command reads what is left."""
    command = [sys.executable, "-c", _SMALL_RUN, str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    path = tmp_path / "shrink" / "readings.jsonl"
    began = time.monotonic()
    while not path.exists() or path.stat().st_size == 0:
        assert first.poll() is None, "it ended before it had read anything"
        assert time.monotonic() - began < 200
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    read = len(path.read_text("utf-8").splitlines())
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "| full |" in again.stdout
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    keys = [(one["arm"], one["seed"], one["question"], one["tokens"]) for one in lines]
    assert len(keys) == len(set(keys)) == 4 * 2 * 2
    assert read < len(keys)


_SMALL_RUN = """
import sys
if __name__ == "__main__":
    from dataclasses import replace
    from training.scripts import memocr_laptop
    from test_memocr_scripts import SMALL
    memocr_laptop._settings = lambda mode, steps: replace(SMALL, mode=mode)
    flags = ["--out", sys.argv[1], "--seeds", "1", "--questions", "2", "--budgets", "64", "16", "--modes", "shrink"]
    sys.exit(memocr_laptop.main([*flags, "--workers", "1"]))
"""


@pytest.mark.slow
def test_the_demo_ends_with_a_memory_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small(**changed: Any) -> SizeSettings:
        return replace(SMALL, **changed)

    small.steps = 2  # type: ignore[attr-defined]
    monkeypatch.setattr("training.experiments.memocr.demo.SizeSettings", small)
    demo.main(["--out", str(tmp_path), "--questions", "2", "--workers", "1"])
    assert "| full |" in capsys.readouterr().out
    assert (tmp_path / "before-after.png").exists()
    assert (tmp_path / "density.png").exists()


@pytest.mark.slow
def test_the_token_study_prints_known_and_longer_chains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_laptop_tokens import SMALL as TOKENS

    monkeypatch.setattr(run_tokens, "TokenSettings", lambda: TOKENS)
    flags = ["--out", str(tmp_path), "--seeds", "1", "--questions", "1", "--budgets", "1024", "64", "16", "--workers", "1"]
    run_tokens.main(flags)
    shown = capsys.readouterr().out
    assert "seen chain lengths" in shown
    assert "longer chain lengths" in shown
    assert "| render_and_read |" in shown
