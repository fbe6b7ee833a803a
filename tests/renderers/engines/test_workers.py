"""Batches: the same pictures as one by one, on all cores, by processes that can be lost and are never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memagent_renderers import Budget, PictureCache, ReaderProfile, render, render_batch
from memagent_renderers.engines import shared_engine
from memagent_renderers.engines.fake import FakeEngine
from memagent_renderers.engines.workers import Workers, shared_workers
from memagent_renderers.errors import BudgetError, RenderError
from memagent_renderers.layout import Page

DOCUMENTS = [f"# Note {number % 9}\n- lives in **Lyon**" for number in range(12)]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def is_running(pid: int) -> bool:
    """False also for a process that ended and that its parent has not looked at yet."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(autouse=True)
def _spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memagent_renderers.picture.SPREAD_FROM", 4)
    monkeypatch.setattr("memagent_renderers.picture.cores", lambda: 2)


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(job_seconds=30)
    yield made
    made.close()


class Counting(FakeEngine):
    drawn = 0

    def draw(self, page: Page) -> bytes:
        self.drawn += 1
        return super().draw(page)


def test_a_batch_is_what_one_by_one_would_be_in_order() -> None:
    shared_workers().close()
    assert render_batch(DOCUMENTS, Budget(16)) == [render(text, Budget(16)) for text in DOCUMENTS]
    assert shared_workers().pids, "the batch was not spread"


def test_a_reader_whose_tokenizer_does_not_pickle_takes_part() -> None:
    budget = Budget(16, ReaderProfile(name="x", count=lambda text: len(text) // 4))
    assert render_batch(DOCUMENTS, budget) == [render(text, budget) for text in DOCUMENTS]


def test_equal_documents_are_drawn_once_and_a_cache_answers_the_next_batch() -> None:
    engine, cache = Counting(), PictureCache(None)
    first = render_batch(DOCUMENTS, Budget(16), engine=engine, cache=cache)
    assert engine.drawn == 9
    assert render_batch(DOCUMENTS, Budget(16), engine=engine, cache=cache) == first
    assert render_batch([], Budget(16)) == []
    assert engine.drawn == 9


def test_the_workers_share_the_folder_of_the_cache(tmp_path: Path) -> None:
    pictures = render_batch(DOCUMENTS, Budget(16), cache=PictureCache(tmp_path))
    assert len(list(tmp_path.glob("*.png"))) == 9
    engine = Counting()
    engine.name, engine.version = shared_engine().name, shared_engine().version  # a page that is in the folder is not drawn
    assert render_batch(DOCUMENTS, Budget(16), engine=engine, cache=PictureCache(tmp_path)) == pictures
    assert engine.drawn == 0


def test_what_is_wrong_is_said_as_by_render() -> None:
    with pytest.raises(BudgetError, match="at least 4"):
        render_batch(DOCUMENTS, Budget(3))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_a_killed_worker_is_replaced_within_the_call(workers: Workers) -> None:
    assert workers.map(abs, [-1]) == [1]
    (killed,) = workers.pids
    os.kill(killed, signal.SIGKILL)
    assert workers.map(abs, list(range(-20, 0))) == list(range(20, 0, -1))
    assert killed not in workers.pids


def test_a_worker_is_replaced_after_so_many_jobs(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memagent_renderers.engines.workers.WORKER_JOBS", 3)
    pids = set()
    for _ in range(2):
        assert workers.map(abs, [-1, -2, -3, -4]) == [1, 2, 3, 4]
        pids |= set(workers.pids)
    assert len(pids) == 2


def test_a_job_that_fails_raises_here_what_it_raised_there(workers: Workers) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        workers.map(int, ["1", "x"])
    assert workers.map(int, ["1", "2"]) == [1, 2]


def test_a_job_that_hangs_or_kills_its_worker_is_an_error_and_harms_no_other(workers: Workers) -> None:
    hurried = Workers(job_seconds=1.5)
    with pytest.raises(RenderError, match=r"more than 1\.5 s"):
        hurried.map(time.sleep, [60.0])
    hurried.close()
    with pytest.raises(RenderError, match="died"):
        workers.map(os._exit, [1])
    assert workers.map(abs, [-1]) == [1]


@linux_only
def test_close_leaves_no_process(workers: Workers) -> None:
    workers.map(abs, [-1])
    (pid,) = workers.pids
    workers.close()
    assert not Path(f"/proc/{pid}").exists()
    assert workers.pids == []


@linux_only
def test_workers_end_with_a_program_that_is_killed() -> None:
    script = (
        "from memagent_renderers.engines.workers import *; w = shared_workers(); "
        "w.map(abs, [1]); print(w.pids[0], flush=True); input()"
    )
    program = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout
    worker = int(program.stdout.readline())
    assert is_running(worker)
    program.kill()
    program.communicate()
    deadline = time.monotonic() + 20
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)
