"""Two processes (gloo, loopback) train as one does, and never wait for each other in vain."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from two_processes_worker import SAMPLED, SCRIPTED, record

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def environment(rank: int, port: int) -> dict[str, str]:
    paths = os.pathsep.join([str(HERE), str(HERE.parent), str(ROOT), os.environ.get("PYTHONPATH", "")])
    distributed = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return {**os.environ, **quiet, **{name: str(value) for name, value in distributed.items()}, "GLOO_SOCKET_IFNAME": "lo"}


def start_two(command: Sequence[str], *, seconds: float, cwd: Path) -> None:
    """The command as two processes of one group; fails when one does, or when they are not done in time."""
    port = free_port()
    files = [cwd / f"process-{rank}.txt" for rank in range(2)]
    processes = []
    for rank, file in enumerate(files):
        with file.open("wb") as out:
            processes.append(
                subprocess.Popen(command, env=environment(rank, port), cwd=cwd, stdout=out, stderr=subprocess.STDOUT)
            )
    try:
        for process in processes:
            process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        pytest.fail("the two processes hang:\n" + "\n".join(file.read_text()[-2000:] for file in files))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(file.read_text()[-3000:] for file in files)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Every scenario, as both processes saw it. One start for all: it takes longer than they do."""
    folder = tmp_path_factory.mktemp("two")
    names = [*SCRIPTED, *SAMPLED]
    start_two([sys.executable, str(HERE / "two_processes_worker.py"), ",".join(names), str(folder)], seconds=120, cwd=folder)
    return {name: [torch.load(folder / f"{name}-{rank}.pt") for rank in range(2)] for name in names}


@pytest.mark.parametrize("name", SCRIPTED)
def test_two_processes_train_as_one_does(name: str, two: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    one = record(name, tmp_path)
    first, second = two[name]

    assert first["rolled"] == second["rolled"] == one["rolled"]  # ids count the groups, rewards are the script's
    assert first["learned"] == second["learned"] == one["learned"]
    assert torch.equal(first["parameters"], second["parameters"])
    torch.testing.assert_close(first["parameters"], one["parameters"], atol=1e-6, rtol=1e-6)
    for mine, single in zip(first["logs"][:-1], one["logs"][:-1], strict=True):
        for key in ("reward", "reward_by_prompt", "rollouts/total", "rows/total", "num_tokens", "completions/mean_length"):
            assert mine.get(key) == single.get(key), key
        for key in ("loss", "kl", "grad_norm"):
            assert mine.get(key, 0.0) == pytest.approx(single.get(key, 0.0), abs=2e-6, rel=2e-5), key
        parts = name in ("sequential", "talk")  # TRL logs the mean of the means of forward passes, which hold other rows
        assert mine["entropy"] == pytest.approx(single["entropy"], rel=1e-3 if parts else 1e-5)


def test_scenarios_are_as_uneven_as_they_claim(two: dict[str, list[dict[str, Any]]]) -> None:
    def sizes(name: str, batch: int) -> list[int]:
        groups = [rollout.split("/")[0] for rollout in two[name][0]["rolled"][batch]]
        return sorted(groups.count(group) for group in set(groups))

    assert len(set(sizes("coba", 1))) > 1
    assert [sum(sizes("sequential", batch)) for batch in range(4)] == [6, 6, 16, 6]
    assert sizes("talk", 0) == [2, 3]
    assert any(len(rows) % 4 for rows in two["talk"][0]["learned"])
    assert [len(rows) for rows in two["lone"][0]["learned"]] == [1, 1, 1]
    assert [len(rows) for rows in two["skip"][0]["learned"]] == [8, 0, 8]


@pytest.mark.parametrize("name", SAMPLED)
def test_two_processes_that_sample_stay_together(name: str, two: dict[str, list[dict[str, Any]]]) -> None:
    first, second = two[name]

    assert torch.equal(first["parameters"], second["parameters"])
    assert first["rolled"] == second["rolled"]
    assert first["learned"] == second["learned"]
    assert any(rolled != first["rolled"][0] for rolled in first["rolled"][1:])
    assert all(math.isfinite(log["loss"]) for log in first["logs"] if "loss" in log)
    assert first["parameters"].isfinite().all()
