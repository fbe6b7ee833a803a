"""One shape for every number: JSON, table and picture from the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memagent.evaluation.metrics import mean_interval
from memagent.evaluation.plots import LABELLED, draw_rows, figure, sizes
from memagent.evaluation.report import Report, Row

ROWS = [
    Row(method="rag", metric="accuracy", at=16, value=0.25, low=0.1, high=0.4, n=4),
    Row(method="rag", metric="accuracy", at=64, value=0.5, low=0.3, high=0.7, n=5),
    Row(method="rag", metric="accuracy", at="mean", value=0.4, low=0.3, high=0.5, n=5),
    Row(method="memocr", metric="accuracy", at=16, value=0.25, n=5),
    Row(method="memocr", metric="p50_ms", at=None, value=300.0),
]


def test_a_report_is_saved_as_json_table_and_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    report = Report(name="demo", rows=ROWS, meta={"seed": 3})
    files = report.save(tmp_path / "out")
    assert [file.name for file in files] == ["demo.json", "demo.md", "demo.png"]
    assert Report.model_validate_json(files[0].read_text("utf-8")) == report
    assert "| rag | accuracy | 16 | 0.250 | 0.100 .. 0.400 | 4 |" in files[1].read_text("utf-8")
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_a_row_of_an_estimate_keeps_its_interval() -> None:
    row = Row.of("rag", "accuracy", 16, mean_interval([0.0, 1.0, 1.0, 1.0]))
    assert (row.value, row.n) == (0.75, 4)
    assert row.low is not None
    assert row.high is not None
    assert row.low < row.value < row.high


def _axes() -> Any:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots()[1]


def test_a_mean_is_joined_to_no_series_and_equal_methods_stand_apart() -> None:
    axes = _axes()
    draw_rows(axes, ROWS[:4], x="tokens")
    lines = {tuple(round(x) for x in line.get_xdata()): line for one in axes.containers for line in one.lines[:1]}
    assert set(lines) == {(0, 1), (3,), (0,)}  # 16 and 64 of rag, its mean alone and a step apart, and memocr's 16
    assert [one.get_text() for one in axes.get_xticklabels()] == ["16", "64", "mean"]
    starts = [float(line.get_xdata()[0]) for line in lines.values() if round(line.get_xdata()[0]) == 0]
    assert len(set(starts)) == 2
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("tokens", "accuracy")
    low, high = axes.get_ylim()
    assert (low < 0, high > 1) == (True, True)
    assert len(axes.get_legend_handles_labels()[1]) == 2


def test_many_places_have_readable_ticks() -> None:
    axes = _axes()
    rows = [Row(method="a", metric="loss", at=step, value=float(step)) for step in range(100)]
    draw_rows(axes, rows, x="step")
    assert 2 < len(axes.get_xticklabels()) <= LABELLED
    assert axes.get_ylim()[0] == 0


def test_n_is_told_for_a_panel() -> None:
    assert sizes(ROWS[:2]) == "n = 4 to 5"
    assert sizes(ROWS[1:3]) == "n = 5"
    assert sizes([]) == ""


def test_two_metrics_have_two_panels(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    drawn: list[Any] = []
    figure(tmp_path / "x.png", [("a", drawn.append), ("b", drawn.append)], note="n = 1")
    assert len(drawn) == 2
    assert drawn[0] is not drawn[1]
