"""Two processes (gloo, loopback) train as one does, and never wait for each other in vain."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.training_runs import launch
from two_processes_worker import SAMPLED, SCRIPTED, record

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Every scenario, as both processes saw it. One start for all: it takes longer than they do."""
    folder = tmp_path_factory.mktemp("two")
    names = [*SCRIPTED, *SAMPLED, "broken"]
    command = [sys.executable, str(Path(__file__).with_name("two_processes_worker.py")), ",".join(names), str(folder)]
    launch(command, world=2, seconds=400, cwd=folder)
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
        parts = name in ("sequential", "talk", "packed")  # TRL logs the mean of the means of passes, which hold other rows
        assert mine["entropy"] == pytest.approx(single["entropy"], rel=1e-3 if parts else 1e-5)


def test_scenarios_are_as_uneven_as_they_claim(two: dict[str, list[dict[str, Any]]]) -> None:
    def sizes(name: str, batch: int) -> list[int]:
        groups = [rollout.split("/")[0] for rollout in two[name][0]["rolled"][batch]]
        return sorted(groups.count(group) for group in set(groups))

    assert len(set(sizes("coba", 1))) > 1
    assert [sum(sizes("sequential", batch)) for batch in range(4)] == [7, 11, 7, 11]
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


def test_an_error_in_one_process_ends_both_with_its_words(two: dict[str, list[Any]]) -> None:
    first, second = two["broken"]

    assert second == "ZeroDivisionError: a bug of process 1"
    assert first == f"RaisedElsewhere: another process has failed: {second}"
