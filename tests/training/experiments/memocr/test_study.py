"""The study as its users start it, made small: training, readings, tables, pictures, and a run that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.memocr_experiment import SMALL, opinionated
from PIL import Image

from memagent.errors import InputError
from training.experiments.memocr import demo, run
from training.experiments.memocr.evaluate import test_drafts as drafts_of
from training.experiments.memocr.figures import before_after
from training.experiments.memocr.run import batch_seconds
from training.experiments.memocr.train import build, start_policy, trained_policy

ROOT = Path(__file__).parents[4]


@pytest.mark.slow
def test_the_trainer_finds_the_engines_probabilities_and_trains(tmp_path: Path) -> None:
    start = start_policy(SMALL, tmp_path / "start", seed=0)
    before = {name: weight.clone() for name, weight in start.state_dict().items()}
    trainer = build(SMALL, start, tmp_path / "run", arm="full", seed=0, quiet=True)
    off = []
    to_batch = trainer._to_batch

    def watched(rows, share):  # type: ignore[no-untyped-def]
        batch = to_batch(rows, share)
        if "old_per_token_logps" in batch:
            off.append((batch["old_per_token_logps"] - batch["sampling_per_token_logps"]).abs().max().item())
        return batch

    trainer._to_batch = watched  # type: ignore[method-assign]
    trainer.train()
    assert len(off) == 2
    assert max(off) < 1e-4
    assert {len(one.rewards) for one in trainer.rollouts} == {3}
    trained = trainer.accelerator.unwrap_model(trainer.model).state_dict()
    assert any(not (before[name] == weight).all() for name, weight in trained.items())
    assert (trainer.ref_model.gather.weight == before["gather.weight"]).all()


@pytest.mark.slow
def test_an_arm_is_trained_once_and_other_settings_are_refused(tmp_path: Path) -> None:
    trained = trained_policy(SMALL, tmp_path, arm="std", seed=1, quiet=True)
    log = (tmp_path / "seed-1" / "std" / "metrics.jsonl").read_text("utf-8")
    again = trained_policy(SMALL, tmp_path, arm="std", seed=1, quiet=True)
    assert all((one == other).all() for one, other in zip(trained.parameters(), again.parameters(), strict=True))
    assert (tmp_path / "seed-1" / "std" / "metrics.jsonl").read_text("utf-8") == log
    with pytest.raises(InputError, match="other settings"):
        trained_policy(replace(SMALL, sentence_chars=61), tmp_path, arm="std", seed=1)


def test_the_time_of_a_batch_is_taken_from_the_log() -> None:
    line = {"step_time": 2.0, "time/rollout": 1.0, "time/layout_and_read": 0.25, "time/score": 1.5}
    assert batch_seconds([{"train_runtime": 9.0}], updates=2) == {}
    expected = {"sampling": 0.75, "layout and reading": 0.25, "scoring": 1.5, "update": 1.5}
    assert batch_seconds([line, line], updates=2) == expected


@pytest.mark.slow
def test_a_figure_shows_both_pages_at_every_size(tmp_path: Path) -> None:
    one, other, *_ = drafts_of(opinionated(), SMALL, each=1, seed=0)
    before_after({"before": one, "after": other}, tmp_path / "shown.png", tokens=(16,), mode="shrink")
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


FLAGS = ["--seeds", "1", "--questions", "1", "--budgets", "64", "16"]


@pytest.mark.slow
def test_the_study_prints_seen_and_longer_chains_and_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "StudySettings", lambda mode: replace(SMALL, mode=mode))
    flags = ["--out", str(tmp_path), *FLAGS, "--modes", "shrink", "fit", "--workers", "2"]
    run.main(flags)
    shown = capsys.readouterr().out
    assert shown.count("| full - std | accuracy ahead | 64 |") == 2 * 2
    assert "full ahead of std at 64" in shown
    assert "layout and reading" in shown
    report = json.loads((tmp_path / "shrink" / "memocr_shrink.json").read_text("utf-8"))
    assert report["meta"]["failures"]["count"] == 0
    assert {row["length"] for row in report["rows"]} == {"seen chains", "longer chains"}
    assert (tmp_path / "fit" / "training-fit.png").exists()
    assert (tmp_path / "shrink" / "accuracy-shrink.png").exists()
    [file] = (tmp_path / "shrink").glob("readings-*.jsonl")
    lines = file.read_text("utf-8").splitlines()
    assert len(lines) == 3 * 4 * 2
    run.main(flags)
    assert capsys.readouterr().out == shown
    assert file.read_text("utf-8").splitlines() == lines


_SMALL_RUN = f"""
import sys
if __name__ == "__main__":
    from dataclasses import replace
    from helpers.memocr_experiment import SMALL
    from training.experiments.memocr import run
    run.StudySettings = lambda mode: replace(SMALL, mode=mode)
    run.main(["--out", sys.argv[1], *{FLAGS!r}, "--arms", "none", "full", "--workers", "1"])
"""


@pytest.mark.slow
def test_a_killed_study_goes_on_and_reads_nothing_twice(tmp_path: Path) -> None:
    """Killed while it reads, and the readers with it; the same command reads what is left."""
    command = [sys.executable, "-c", _SMALL_RUN, str(tmp_path)]
    roots = (ROOT, ROOT / "renderers", ROOT / "training", ROOT / "tests")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, roots))}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    while not (found := list(tmp_path.rglob("readings-*.jsonl"))) or found[0].stat().st_size == 0:
        assert first.poll() is None, "it ended before it had read anything"
        assert time.monotonic() - began < 200
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    read = len(found[0].read_text("utf-8").splitlines())
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    lines = [json.loads(line) for line in found[0].read_text("utf-8").splitlines()]
    keys = [(one["arm"], one["seed"], one["question"], one["tokens"]) for one in lines]
    assert len(keys) == len(set(keys)) == 2 * 4 * 2
    assert read < len(keys)


@pytest.mark.slow
def test_the_demo_ends_with_a_memory_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "StudySettings", lambda mode: replace(SMALL, mode=mode))
    demo.main(["--out", str(tmp_path), "--questions", "1", "--workers", "1"])
    assert "| full | accuracy | 64 |" in capsys.readouterr().out
    assert (tmp_path / "before-after.png").exists()
    assert (tmp_path / "training-shrink.png").exists()
