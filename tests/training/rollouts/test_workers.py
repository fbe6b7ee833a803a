"""Worker processes: what they give and raise, what happens when one is killed, and that none is left."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import pool_work
from helpers.training_runs import PATHS, TESTS

from memagent.errors import MissingExtra, RenderError
from memagent_training.objectives.base import WorkItem
from memagent_training.rollouts import workers
from memagent_training.rollouts.workers import WorkerDied, WorkerPool


@pytest.fixture(scope="module")
def two() -> Iterator[WorkerPool]:
    """One pool for all: a worker takes a second to start."""
    pool = WorkerPool(2)
    yield pool
    pool.close()


def at(count: int, two: WorkerPool) -> WorkerPool:
    return two if count else WorkerPool(0)


@pytest.mark.parametrize("count", [0, 2])
def test_work_gives_in_order_what_it_gives_here(count: int, two: WorkerPool) -> None:
    pool = at(count, two)
    assert pool.outcomes([WorkItem(pool_work.shout, (text,)) for text in "abc"]) == ["A!", "B!", "C!"]
    assert pool.metrics()["time/work"] >= 0
    assert pool.metrics() == {}


ERRORS = [MissingExtra("fonts", "pip install fonts"), RenderError("the page could not be drawn"), ZeroDivisionError("by 0")]


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("error", ERRORS, ids=lambda one: type(one).__name__)
def test_what_work_raises_is_raised_here(count: int, error: Exception, two: WorkerPool) -> None:
    [first, raised] = at(count, two).outcomes([WorkItem(pool_work.shout, ("a",)), WorkItem(pool_work.fail, (error,))])
    assert first == "A!"
    assert (type(raised), raised.args) == (type(error), error.args)
    assert raised.__dict__ == error.__dict__


def test_an_exception_that_cannot_be_sent_says_what_it_was_and_ends_no_pool(two: WorkerPool) -> None:
    workers = set(multiprocessing.active_children())
    [raised, done] = two.outcomes([WorkItem(pool_work.demand), WorkItem(pool_work.shout, ("a",))])
    assert (type(raised), str(raised), done) == (RuntimeError, "Demanding: page 3: torn", "A!")
    assert workers <= set(multiprocessing.active_children())


@pytest.mark.slow
def test_workers_have_one_thread_and_no_torch(two: WorkerPool) -> None:
    [(torch, threads, process)] = two.outcomes([WorkItem(pool_work.drawing_process)])
    assert (torch, threads) == (False, "1")
    assert process != os.getpid()


def test_work_whose_worker_is_killed_is_done_again_and_that_of_others_too(tmp_path: Path, two: WorkerPool) -> None:
    others = [WorkItem(pool_work.shout, (text,)) for text in "ab"]
    killed = WorkItem(pool_work.die, (str(tmp_path / "deaths"), 1))
    assert two.outcomes([others[0], killed, others[1]]) == ["A!", "done", "B!"]
    assert two.outcomes(others) == ["A!", "B!"]  # in workers that are new


def test_work_that_kills_two_workers_is_given_up_alone(tmp_path: Path, two: WorkerPool) -> None:
    waits = str(tmp_path / "go")
    Path(waits).touch()
    items = [WorkItem(pool_work.die, (str(tmp_path / "deaths"), 9)), WorkItem(pool_work.wait_for, (waits, 9))]
    given_up, done = two.outcomes(items)
    assert isinstance(given_up, WorkerDied)
    assert "`die`" in str(given_up)
    assert "rollouts.workers" in str(given_up)
    assert isinstance(done, int)
    assert (tmp_path / "deaths").stat().st_size == 2


def test_a_closed_pool_has_no_process_and_starts_again(two: WorkerPool) -> None:
    for _ in range(2):
        assert two.outcomes([WorkItem(pool_work.shout, ("a",))]) == ["A!"]
        assert multiprocessing.active_children()
        two.close()
        assert not multiprocessing.active_children()


def test_a_pool_of_none_starts_no_process() -> None:
    before = set(multiprocessing.active_children())
    assert asyncio.run(WorkerPool(0).run(WorkItem(os.getpid))) == os.getpid()
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize(("cores", "processes", "count"), [(1, 1, 0), (2, 1, 1), (9, 1, 8), (64, 1, 8), (16, 8, 1), (64, 4, 8)])
def test_the_processes_of_a_machine_share_its_cores(
    cores: int, processes: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memagent_renderers.engines.workers.cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert workers.default_workers() == count


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def rolling(folder: Path, seconds: float) -> tuple[subprocess.Popen[bytes], int]:
    """A process with a request under way and a worker that is busy for so long, and the worker."""
    said = folder / "worker"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((TESTS, PATHS))}
    command = [sys.executable, "-m", "helpers.rolling_program", str(said), str(seconds)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    pool_work.wait_for(str(said), 60)
    return process, int(said.read_text("ascii"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_gives_up_requests_and_leaves_no_worker(tmp_path: Path) -> None:
    process, worker = rolling(tmp_path, 1.0)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    said, error = process.communicate(timeout=30)
    assert process.returncode != 0
    assert said.decode().splitlines() == ["given up", "children []"]
    assert error.decode().endswith("KeyboardInterrupt\n")
    assert b"Process " not in error  # no traceback of a worker
    assert not alive(worker)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_is_killed_takes_its_workers_along(tmp_path: Path) -> None:
    process, worker = rolling(tmp_path, 60.0)
    process.kill()
    process.communicate(timeout=30)
    end = time.monotonic() + 30
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(worker)
