"""`memagent bench render`: the arms, the metrics and what the report says about itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memagent.cli.bench import app
from memagent.errors import ConfigError, InputError
from memagent.evaluation import render
from memagent_renderers.engines import Engine
from memagent_renderers.engines.browser import find_chromium


def test_the_documents_are_of_2_kb_and_all_different() -> None:
    assert 1_900 < len(render.document(0)) < 2_200
    assert len({render.document(number) for number in range(300)}) == 300


@pytest.mark.slow
@pytest.mark.browser
def test_every_arm_is_measured_and_the_report_says_how(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if find_chromium() is None:
        pytest.skip("Chromium is not installed")
    command = ["render", "--rounds", "1", "--batch", "3", "--json", "--out", str(tmp_path)]
    report = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    arms = ["embedded", "embedded_batch", "cached", "chromium", "published"]
    assert [(row["method"], row["metric"]) for row in report["rows"]] == [
        (arm, metric) for arm in arms for metric in ("renders_per_second", "p50_ms")
    ]
    assert all(row["value"] > 0 for row in report["rows"])
    assert report["meta"]["page"]["budget"] == 256
    assert set(report["meta"]["ratios"]) == {
        "embedded_to_published",
        "chromium_to_published",
        "embedded_batch_to_embedded",
    }
    assert report["meta"]["left_out"] == {}
    assert (tmp_path / "render.json").exists()


def test_without_a_browser_its_arms_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Engine:
        raise ConfigError("no browser here")

    monkeypatch.setattr(render, "make_engine", absent)
    report = render.run(budget=16, batch=2, rounds=2)
    assert {row.method for row in report.rows} == {"embedded", "embedded_batch", "cached"}
    assert report.meta["left_out"] == {"chromium": "no browser here", "published": "no browser here"}
    assert set(report.meta["ratios"]) == {"embedded_batch_to_embedded"}
    assert report.meta["layout_p50_ms"] > 0


def test_a_round_without_pictures_is_refused() -> None:
    with pytest.raises(InputError, match="batch is 0"):
        render.run(batch=0)
