"""Work items of episodes: done in other processes, while others generate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import (
    MemAgentError,
    MissingExtra,
    RenderError,
    StoreLocked,
)
from memagent.types import user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from helpers import pool_work
from scripted_episodes import Engine, Requests, jobs, rolled

from memagent_training.engines.base import Completion, Prompt
from memagent_training.objectives.base import Episode, EpisodeResult, PolicyRequest, Task, WorkItem, in_worker
from memagent_training.rollouts.workers import WorkerDied, WorkerPool


def drawing(*items: WorkItem) -> Callable[[Task, int], Episode]:
    """Work first, then one question with what came of it."""

    def run(task: Task, seed: int) -> Episode:
        found = []
        for item in items:
            found.append((yield item))
        reply = yield PolicyRequest((user_message(f"{task['id']}{''.join(map(str, found))}"),), max_tokens=3)
        return EpisodeResult(rewards={"answer": 1.0}, answer=f"{found} {reply.text}")

    return run


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    pool = WorkerPool(2)
    yield pool
    pool.close()


@pytest.mark.parametrize("make", [Engine, Requests])
def test_work_is_part_of_no_round_and_no_turn(make: Callable[[], Any], workers: WorkerPool) -> None:
    run = drawing(WorkItem(pool_work.shout, ("1a",)), WorkItem(pool_work.shout, ("2b",)))
    engines = [make(), make()]
    here, there = (
        rolled(run, jobs("x", "y", attempts=2), engine, pool=pool)
        for engine, pool in zip(engines, (None, workers), strict=True)
    )

    assert here == there
    assert all(str(one.answer).startswith("['1A!', '2B!'] ") for one in here)
    assert [len(one.segments) for one in here] == [1] * 4
    if make is Engine:
        assert [len(call) for call in engines[0].calls] == [4]


def test_a_drawing_runs_while_another_episode_generates(tmp_path: Path, workers: WorkerPool) -> None:
    """The one waits for the other's request to be under way, which waits in turn for what is drawn: no clock decides."""
    asked, drawn = tmp_path / "asked", asyncio.Event()

    class Waiting(Requests):
        async def complete(self, prompt: Prompt) -> Completion:
            if prompt.group == "0:1":
                asked.touch()
                await asyncio.wait_for(drawn.wait(), 30)
            else:
                drawn.set()
            return await super().complete(prompt)

    def run(task: Task, seed: int) -> Episode:
        work = [WorkItem(pool_work.wait_for, (str(asked), 30.0))] if task["id"] == "a" else []
        return drawing(*work)(task, seed)

    done = rolled(run, jobs("a", "b"), Waiting(), pool=workers)
    assert [one.failed for one in done] == [None, None]
    assert all(one.rewards == {"answer": 1.0} for one in done)


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.parametrize("count", [0, 2])
def test_two_workers_draw_in_the_time_that_others_generate(count: int) -> None:
    """Generating takes 1 s, each of two drawings 0.1 s, of 8 rollouts: 2.6 s one after the other."""
    pool = WorkerPool(count)
    pool.outcomes([WorkItem(time.sleep, (0.2,))] * 2)  # the workers are there
    rolled(drawing(), jobs("a"), Requests())  # and so is the tokenizer
    began = time.monotonic()
    run = drawing(WorkItem(time.sleep, (0.1,)), WorkItem(time.sleep, (0.1,)))
    rolled(run, jobs("a", attempts=8), Requests(lambda prompt: 1.0), pool=pool)
    spent = time.monotonic() - began
    pool.close()
    assert (spent < 2.5) == (count == 2), spent


@pytest.mark.parametrize("make", [Engine, Requests])
@pytest.mark.parametrize("count", [0, 2])
def test_what_work_raises_is_the_episodes_to_take(make: Callable[[], Any], count: int, workers: WorkerPool) -> None:
    def run(task: Task, seed: int) -> Episode:
        try:
            yield from in_worker(pool_work.fail, RenderError("too wide"))
        except RenderError as error:
            return (yield from drawing()({"id": f"{error}"[0]}, seed))
        return EpisodeResult()

    [one] = rolled(run, jobs("a"), make(), pool=workers if count else None)
    assert (one.valid, one.rewards, len(one.segments)) == (True, {"answer": 1.0}, 1)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (RenderError("too wide"), None),
        (StoreLocked("locked"), "store_locked: locked"),
        (WorkerDied("two processes"), "worker: two processes"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_work_raises_is_judged_as_what_an_episode_raises(
    error: MemAgentError, failed: str | None, count: int, workers: WorkerPool
) -> None:
    [one] = rolled(drawing(WorkItem(pool_work.fail, (error,))), jobs("a"), Requests(), pool=workers if count else None)
    assert (one.failed, one.valid, one.rewards) == (failed, False, {"answer": 0.0})


@pytest.mark.parametrize("make", [Engine, Requests])
@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("error", [MissingExtra("fonts", "pip install fonts"), ZeroDivisionError("by 0")])
def test_work_that_lacks_a_package_or_is_wrong_stops_the_batch(
    make: Callable[[], Any], error: Exception, count: int, workers: WorkerPool
) -> None:
    with pytest.raises(type(error), match=str(error)):
        rolled(drawing(WorkItem(pool_work.fail, (error,))), jobs("a", "b"), make(), pool=workers if count else None)
