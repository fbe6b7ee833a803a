"""The long-qa bench by Ray: the report of a run without it, whatever died on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.fake_ray import Cluster
from made_questions import SAMPLES
from typer.testing import CliRunner

from memagent.cli.bench import app
from memagent.environments.long_qa import ray_run, visual_memory
from memagent.environments.long_qa.ray_run import by_ray
from memagent.environments.long_qa.report import LongQaReport, run
from memagent.environments.long_qa.settings import LongQaSettings
from memagent.errors import ConfigError
from memagent.models.base import Request
from memagent.models.fake import FakeModel

FAKES = LongQaSettings(
    methods=("memocr", "rag", "raw"),
    budgets=(64, 16),
    lengths=("60",),
    reader="fake",
    engine="fake",
    embedder=None,
    tokens="estimate",
    concurrency=2,
)


class Locked(FakeModel):
    """A model that nobody may call."""

    def _say(self, request: Request) -> str:
        raise ConfigError("wrong key")


class Other(FakeModel):
    """A model of another name."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "other"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with ExitStack() as opened:
        monkeypatch.setattr(ray_run, "_opened", {})
        monkeypatch.setattr(ray_run, "_open", opened)
        yield Cluster().install(monkeypatch)


def _made(report: Any) -> Any:
    """A report apart from what the clock said."""
    meta = {name: value for name, value in report.meta.items() if "seconds" not in name}
    return report.rows, meta


@pytest.mark.parametrize("model", [None, FakeModel])
def test_the_report_is_that_of_a_run_without_ray(
    questions: Path, tmp_path: Path, cluster: Cluster, model: type[FakeModel] | None
) -> None:
    asked = None if model is None else model()
    plain = run(questions, FAKES, model=asked)
    first = by_ray("local", replace(FAKES, methods=("rag",)), load_model=model)
    run(questions, replace(FAKES, methods=("rag",)), model=asked, out=tmp_path, ask=first)
    assert len(cluster.tries) == 3
    whole = run(questions, FAKES, model=asked, out=tmp_path, ask=by_ray("local", FAKES, load_model=model))
    assert _made(whole) == _made(plain)
    assert len(list(tmp_path.glob("items-*.jsonl"))) == 1
    # taken up by a run without Ray, nothing is left to do
    [file] = tmp_path.glob("items-*.jsonl")
    kept = file.read_bytes()
    assert _made(run(questions, FAKES, model=asked, out=tmp_path)) == _made(plain)
    assert file.read_bytes() == kept


def test_visual_memory_is_made_by_ray_as_well(questions: Path, cluster: Cluster) -> None:
    settings = visual_memory.settings(
        methods=("memocr", "uniform"), budgets=(16,), context_tokens=60, reader="fake", engine="fake", tokens="estimate"
    )
    settings = replace(settings, embedder=None)
    plain = visual_memory.run(questions, settings)
    ours = visual_memory.run(questions, settings, ask=by_ray("local", settings))
    untimed = [[row for row in report.rows if row.metric != "ocr_seconds"] for report in (plain, ours)]
    assert untimed[0] == untimed[1]
    assert cluster.tries


def test_a_model_that_nobody_may_call_stops_the_run(questions: Path, cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="wrong key"):
        run(questions, FAKES, model=Locked(), ask=by_ray("local", FAKES, load_model=Locked))
    assert not cluster.open


def test_a_worker_with_other_parts_is_refused(questions: Path, cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match=r"the worker on .* has other parts \(.*model other.*install there"):
        run(questions, FAKES, model=FakeModel(), ask=by_ray("local", FAKES, load_model=Other))


# -- a Ray of two cores -----------------------------------------------------------------------------------------------


def _many(path: Path, number: int) -> Path:
    samples = [sample | {"id": f"{sample['id']}-{round}"} for round in range(number) for sample in SAMPLES]
    path.write_text("\n".join(map(json.dumps, samples)), "utf-8")
    return path


def _items(out: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in out.glob("items-*.jsonl"))


def _until_items(running: subprocess.Popen[str], out: Path, number: int) -> None:
    deadline = time.monotonic() + 200
    while _items(out) < number:
        assert running.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _kill_a_worker(running: subprocess.Popen[str]) -> None:
    """One that is at work: Ray titles it by what it does."""
    while running.poll() is None:
        for one in psutil.Process(running.pid).children(recursive=True):
            with suppress(psutil.Error):
                if "ray::_worked" in " ".join(one.cmdline()):
                    return one.kill()
    pytest.fail("no worker was seen at work")


@pytest.mark.slow
@pytest.mark.timeout(600)  # starting Ray twice takes half a minute on two busy cores
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_by_a_local_ray_killed_workers_and_runs_change_nothing(tmp_path: Path) -> None:
    data, out = _many(tmp_path / "many.jsonl", 60), tmp_path / "out"
    arguments = ["long-qa", str(data), "--offline", "--limit", "150", "--reader", "simulated", "--embedder", "none"]
    arguments += ["--lengths", "60", "--budgets", "64,16", "--methods", "memocr,memagent,rag", "--json"]
    plain = CliRunner().invoke(app, arguments)
    whole = LongQaReport.model_validate(json.loads(plain.stdout))
    command = [sys.executable, "-m", "memagent.cli.main", "bench", *arguments, "--ray", "local", "--out", str(out)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ})

    running = start()
    _until_items(running, out, 20)
    family = psutil.Process(running.pid).children(recursive=True)
    assert any("raylet" in one.name() for one in family)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not psutil.wait_procs(family, timeout=120)[1]  # Ray's agents look for their parent every ten seconds
    killed = _items(out)
    assert killed < 150 * 6

    running = start()
    _until_items(running, out, killed + 20)
    _kill_a_worker(running)
    answer, _ = running.communicate(timeout=240)
    assert running.returncode == 0
    ours = LongQaReport.model_validate(json.loads(answer))
    assert ours.rows == whole.rows
    assert ours.tables() == whole.tables()
    assert ours.meta["fingerprint"] == whole.meta["fingerprint"]
    assert _items(out) == 150 * 6
