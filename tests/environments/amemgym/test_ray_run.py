"""The offline AMemGym bench by Ray: the reports and the conversations of a run without it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.amemgym_runs import invoke
from helpers.fake_ray import Cluster

from memagent.environments.amemgym import ray_run
from memagent.environments.amemgym import run as bench
from memagent.environments.amemgym.generate import preset
from memagent.environments.amemgym.ray_run import run_by_ray
from memagent.environments.amemgym.run import AmemgymSettings, run
from memagent.errors import InputError
from memagent.evaluation.runner import SILENT


def _talked(settings: AmemgymSettings, rounds: object, out: Path, unit: tuple[str, str]) -> dict[int, Any]:
    """In place of a user's life, which takes seconds."""
    assert settings.embedder == "hash:384"  # what the name stands for here
    folder = out / unit[1] / unit[0]
    folder.mkdir(parents=True)
    (folder / "talk.json").write_text(f"{unit} talked", "utf-8")
    return {64: unit}


def test_conversations_come_back_to_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_run, "run_unit", _talked)
    Cluster().install(monkeypatch)
    settings = AmemgymSettings(methods=("rag",), budgets=(64,), embedder="hash")
    plan: Any = SimpleNamespace(settings=settings, rounds=None, units=[("u0", "rag"), ("u1", "rag")])
    found = run_by_ray(plan, address="local", out=tmp_path, progress=SILENT)
    assert found == [{64: ("u0", "rag")}, {64: ("u1", "rag")}]
    assert (tmp_path / "rag" / "u1" / "talk.json").read_text("utf-8") == "('u1', 'rag') talked"
    assert run_by_ray(plan, address="local", out=None, progress=SILENT) == found


@pytest.mark.slow
def test_reports_and_files_are_those_of_a_run_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "preset", lambda _: preset("v1.base").model_copy(update={"num_periods": 1}))
    settings = AmemgymSettings(methods=("rag", "random"), budgets=(64,), limit=1, embedder=None, workers=1)
    cluster = Cluster().install(monkeypatch)
    [plain] = run(settings, out=tmp_path / "plain")
    [ours] = run(settings, out=tmp_path / "ray", ray="local")
    assert len(cluster.tries) == 2
    timed = ("seconds", "per_second")
    assert [row for row in ours.rows if not row.metric.endswith(timed)] == [
        row for row in plain.rows if not row.metric.endswith(timed)
    ]
    assert ours.meta["settings"] == plain.meta["settings"]
    files = {str(file.relative_to(tmp_path / "plain")): file for file in (tmp_path / "plain").rglob("*.json")}
    assert any("interactions" in name for name in files)
    for name, file in files.items():
        assert (tmp_path / "ray" / name).exists()
        if "interactions" in name:
            assert (tmp_path / "ray" / name).read_bytes() == file.read_bytes()


def test_a_run_with_a_model_says_what_to_do_instead() -> None:
    result = invoke("-m", "fake", "--ray", "local")
    assert isinstance(result.exception, InputError)
    assert "--concurrency" in str(result.exception)
