"""`python -m training.experiments.trainer_overhead.run`: the figures, the bars, the files. The speeds themselves are in the
slow test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memagent.evaluation.report import Report, Row
from training.experiments.trainer_overhead import run
from training.experiments.trainer_overhead.run import Job, alternate, judge, main, packing_rows, ratio_interval

TINY = Job(name="tiny", digits=1, prompts=2, group_size=2, width=16, layers=1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of a moment, bars that a busy machine meets."""
    rows: Callable[[], list[Row]] = run.allocation_rows
    monkeypatch.setattr(run, "JOBS", (TINY,))
    monkeypatch.setattr(run, "RATIO", 1000.0)
    monkeypatch.setattr(run, "allocation_rows", lambda: rows(prompts=32, rollouts=256, high=32))  # type: ignore[call-arg]
    monkeypatch.setattr(run, "packing_rows", lambda: packing_rows(segments=64))


@pytest.mark.usefixtures("small")
def test_the_report_has_step_times_of_both_trainers_and_all_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--steps", "8", "--out", str(tmp_path), "--json"]) == 0

    report = Report.model_validate_json(capsys.readouterr().out)
    assert report == Report.model_validate_json((tmp_path / "bench_trainer.json").read_text("utf-8"))
    rows = {(row.method, row.metric): row for row in report.rows if row.at == "tiny"}
    assert set(rows) == {("trl", "step_ms"), ("ours", "step_ms"), ("ours", "ratio")}
    ratio = rows["ours", "ratio"]
    assert ratio.value == pytest.approx(rows["ours", "step_ms"].value / rows["trl", "step_ms"].value)
    assert ratio.low is not None
    assert ratio.high is not None
    assert 0 < ratio.low <= ratio.value <= ratio.high
    assert {row.n for row in rows.values()} == {8}
    assert [bar["name"].split(",")[0] for bar in report.meta["bars"]] == [
        *["milliseconds to allocate"] * 2,
        "relative distance from the optimum",
        *["milliseconds to pack"] * 2,
        "step time over TRL's",
    ]
    assert all(bar["met"] for bar in report.meta["bars"])
    assert (tmp_path / "bench_trainer.md").read_text("utf-8").startswith("| method | metric |")


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_missed_bar_is_told_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "RATIO", 0.0)
    assert main(["--steps", "8"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("false")


def test_too_few_steps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--steps", "7"])
    assert left.value.code == 2
    assert "give at least 8" in capsys.readouterr().err


def test_arms_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def arm(name: str) -> Callable[[], list[float]]:
        def block() -> list[float]:
            order.append(name)
            return [float(len(order))]

        return block

    times = alternate({"a": arm("a"), "b": arm("b")}, blocks=2)

    assert order == ["b", "a", "a", "b", "b", "a"]
    assert times == {"a": [[3.0], [6.0]], "b": [[4.0], [5.0]]}


def test_the_ratio_is_of_medians_and_its_interval_resamples_pairs() -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.5, (20, 4))  # the machine's, the same for both
    value, low, high, n = ratio_interval((1.05 * noise).tolist(), noise.tolist())

    assert (value, low, high) == pytest.approx((1.05, 1.05, 1.05))
    assert n == 80
    wide = ratio_interval([[1.0, 9.0], [2.0, 2.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert wide.value == pytest.approx(1.5)
    assert wide.low is not None
    assert wide.high is not None
    assert wide.low <= 1.5 <= wide.high
    assert wide.low < wide.high


def test_bars_are_judged_by_their_rows() -> None:
    rows = [
        Row(method="ours", metric="ratio", at="job", value=1.2),
        Row(method="coba paper", metric="optimum_gap", at="x", value=0.0),
        Row(method="ours", metric="step_ms", at="job", value=3.0),
    ]
    bars = judge(rows)

    assert [(bar.met, bar.limit) for bar in bars] == [(False, 1.10), (True, 1e-9)]
    assert bars[0].line() == "false 1.2 (limit 1.1)  step time over TRL's, ours, job"


@pytest.mark.slow
@pytest.mark.timed
def test_our_trainer_costs_less_than_a_tenth_more_than_trl(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--steps", "60", "--json"])
    assert status == 0, json.dumps(json.loads(capsys.readouterr().out)["meta"]["bars"], indent=1)
