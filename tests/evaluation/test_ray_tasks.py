"""Units as tasks of Ray: in order, kept as they come, and clear about what went wrong."""

from __future__ import annotations

import os
import signal
import socket
import sys

import pytest
from helpers.fake_ray import Cluster

from memagent.errors import ConfigError, InputError, MalformedOutput, MissingExtra, WorkerLost
from memagent.evaluation import ray_tasks
from memagent.evaluation.ray_tasks import RETRIES, in_ray
from memagent.evaluation.runner import Progress


def squared(unit: int) -> int:
    return unit * unit


def refused(unit: int) -> int:
    if unit == 2:
        raise InputError(f"unit {unit}")
    return unit


def babbled(unit: int) -> int:
    raise MalformedOutput("no JSON", output=f"{unit}?")


def test_results_are_in_order_and_kept_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, kept, moved = Cluster().install(monkeypatch), list[int](), list[int]()
    found = in_ray("units", squared, [1, 2, 3], address="local", keep=kept.append, progress=_counting(moved))
    assert found == [1, 4, 9]
    assert kept == [9, 4, 1]
    assert moved == [1, 1, 1]
    assert not cluster.open
    assert in_ray("units", squared, [], address="local") == []


def _counting(moved: list[int]) -> Progress:
    from contextlib import nullcontext

    return Progress(bar=lambda label, total: nullcontext(moved.append))


def test_nothing_is_reported_to_anybody_and_no_dashboard_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.delenv("TMPDIR", raising=False)
    cluster = Cluster().install(monkeypatch)
    in_ray("units", squared, [1], address="local")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert cluster.given["include_dashboard"] is False
    assert "TMPDIR" not in os.environ
    assert not os.path.exists(cluster.given["_temp_dir"])


def test_the_error_of_a_unit_ends_the_run_and_what_came_before_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, kept = Cluster().install(monkeypatch), list[int]()
    with pytest.raises(InputError, match="unit 2"):
        in_ray("units", refused, [1, 2, 3], address="local", keep=kept.append)
    assert kept == [3]
    assert not cluster.open
    with pytest.raises(MalformedOutput) as raised:
        in_ray("units", babbled, [1], address="local")
    assert raised.value.output == "1?"


def test_a_unit_whose_worker_dies_goes_to_another_one_a_few_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(dies=lambda unit: unit == 2, times=RETRIES).install(monkeypatch)
    assert in_ray("units", squared, [1, 2], address="local") == [1, 4]
    assert cluster.tries[1] == RETRIES + 1
    cluster = Cluster(dies=lambda unit: unit == 2, times=99).install(monkeypatch)
    said = capsys.readouterr()
    assert (said.out, said.err.count("A worker died")) == ("", RETRIES)  # stdout is for the result alone
    with pytest.raises(WorkerLost, match=r"lost with its worker 4 times \(WorkerCrashedError: .*unexpectedly\.\); the same"):
        in_ray("units", squared, [1, 2], address="local")
    assert not cluster.open


def test_an_interruption_leaves_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(result: int) -> None:
        raise KeyboardInterrupt

    cluster = Cluster().install(monkeypatch)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        in_ray("units", squared, [1, 2], address="local", keep=stopped)
    assert not cluster.open
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_address_where_nobody_listens_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster().install(monkeypatch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for one in (address, f"ray://{address}"):
        with pytest.raises(ConfigError, match=r"no Ray could be joined at .*refused; give --ray local, or host:port"):
            in_ray("units", squared, [1], address=one)


def test_what_ray_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster().install(monkeypatch)
    cluster.open = True
    with pytest.raises(ConfigError, match="init was called twice"):
        in_ray("units", squared, [1], address="auto")


def test_a_worker_with_other_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster().install(monkeypatch)
    versions = iter([{"code": "a", "numpy": "2.4.6"}, {"code": "a", "numpy": "2.1.0", "torch": "2.13"}])
    monkeypatch.setattr(ray_tasks, "_made_by", lambda: next(versions))
    with pytest.raises(ConfigError, match=r"has numpy 2\.1\.0 for 2\.4\.6, torch 2\.13 for absent; install there"):
        in_ray("units", squared, [1], address="local")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"memagent\[ray\]"):
        in_ray("units", squared, [1], address="local")
