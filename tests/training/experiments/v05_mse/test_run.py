"""`python -m training.experiments.v05_mse.run`: the figures, the bars, the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from memagent.evaluation.report import Report, Row
from training.experiments.v05_mse import run as script
from training.experiments.v05_mse.run import EQUAL, FUSED, MEAN, SEQUENTIAL, judge, main, population_rows, pull


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[str], Path]:
    """One run with few prompts: the report, what was printed, the folder."""
    folder = tmp_path_factory.mktemp("out")
    patch, printed = pytest.MonkeyPatch(), []
    patch.setattr(script, "REPETITIONS", 4)
    patch.setattr(script, "PROMPTS", 50)
    patch.setattr("builtins.print", lambda *text, **_: printed.append(" ".join(map(str, text))))
    try:
        assert main(["--out", str(folder), "--seed", "3"]) == 0
    finally:
        patch.undo()
    return Report.model_validate_json((folder / "baseline_mse.json").read_text("utf-8")), printed[0].split("\n"), folder


def of(report: Report, arm: str, metric: str, at: float | str) -> Row:
    (row,) = [row for row in report.rows if (row.method, row.metric, row.at) == (arm, metric, at)]
    return row


@pytest.mark.slow
def test_the_rows_hold_known_figures(run: tuple[Report, list[str], Path]) -> None:
    report, _, _ = run
    assert of(report, MEAN, "mse", 0.5).value == pytest.approx(0.1675)
    assert of(report, FUSED, "mse_ratio_to_mean4", 0.5).value == pytest.approx(0.359, abs=1e-3)
    assert of(report, SEQUENTIAL, "mse", 2.0).value == pytest.approx(0.1195, abs=1e-4)
    assert of(report, SEQUENTIAL, "mean_k", 2.0).value == pytest.approx(6.96, abs=5e-3)
    assert of(report, EQUAL, "mse", "bias +2").value == pytest.approx(0.0832, abs=1e-4)
    assert of(report, FUSED, "accept", 0.0).value == pytest.approx(0.84, abs=5e-3)
    assert of(report, MEAN, "gradient_scale", 0.0).value == pytest.approx(0.75)
    assert of(report, "v05_loo-4", "gradient_scale", "bias +4").value == pytest.approx(1.0)
    assert of(report, SEQUENTIAL, "worst_mse", "any prior").value == pytest.approx(0.3707, abs=5e-4)


@pytest.mark.slow
def test_every_bar_is_met_and_told_on_the_last_lines(run: tuple[Report, list[str], Path]) -> None:
    report, lines, _ = run
    bars = report.meta["bars"]
    assert len(bars) == 7
    assert all(line.startswith("true ") for line in lines[-7:])
    assert all(bar["met"] for bar in bars)


@pytest.mark.slow
def test_where_the_plain_mean_wins_is_said(run: tuple[Report, list[str], Path]) -> None:
    report, lines, _ = run
    wins = report.meta["plain_mean_wins_at_equal_rollouts"]["v05-sequential against group_mean-equal: baseline"]
    assert 2.0 in wins
    assert "bias +2" in wins
    assert 0.5 not in wins
    (line,) = [line for line in lines if "v05-sequential against group_mean-equal: baseline" in line]
    assert "noise 2," in line


@pytest.mark.slow
def test_the_bandit_has_intervals_and_equal_arms_use_equal_rollouts(run: tuple[Report, list[str], Path]) -> None:
    report, _, _ = run
    for at in (0.5, 2.0, "bias -4", "bias +4"):
        row = of(report, SEQUENTIAL, "mse_bandit", at)
        assert row.low is not None
        assert row.high is not None
        assert row.low < row.value < row.high
        assert row.n == 4
        spent = [of(report, arm, "mean_k_bandit", at).value for arm in (SEQUENTIAL, EQUAL)]
        assert spent[0] == spent[1] > 4


@pytest.mark.slow
def test_the_report_and_the_curves_are_saved(run: tuple[Report, list[str], Path]) -> None:
    _, _, folder = run
    assert (folder / "baseline_mse.md").exists()
    pytest.importorskip("matplotlib")
    assert (folder / "baseline_mse.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_json_is_one_report_and_repeats_by_seed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("REPETITIONS", 2), ("PROMPTS", 20), ("NOISES", [0.0, 0.5]), ("BIASES", [-4.0, 4.0])):
        monkeypatch.setattr(script, name, value)
    monkeypatch.setattr(script, "GOOD", [0.5])
    found = []
    for seed in ("5", "5", "6"):
        assert main(["--json", "--seed", seed]) == 0
        found.append(json.loads(capsys.readouterr().out)["rows"])
    assert found[0] == found[1] != found[2]


@pytest.mark.slow
def test_the_bandit_agrees_with_the_exact_figures() -> None:
    grid = script.standard_grid(noise=0.5)
    exact = {row.method: row.value for row in population_rows(grid, 0.5) if row.metric == "mse"}
    runs = [pull(np.random.default_rng([9, at]), noise=0.5, bias=0.0) for at in range(12)]
    for place, arm in enumerate((MEAN, FUSED, SEQUENTIAL)):
        errors = [run[place][1] for run in runs]
        assert np.mean(errors) == pytest.approx(exact[arm], abs=4 * np.std(errors, ddof=1) / 12**0.5)


def test_a_missed_bar_is_false_with_its_figure() -> None:
    values = {(FUSED, "mse_ratio_to_mean4", noise): 0.6 for noise in script.GOOD}
    for at in ("any prior", "bias -4", "bias +4"):
        values |= {(SEQUENTIAL, "worst_mse", at): 0.4, (SEQUENTIAL, "worst_excess", at): 0.3}
    bars = judge(values)
    assert not any(bar.met for bar in bars)
    assert bars[0].line().startswith("false 0.6 ")
