"""How the episodes of a batch are run beside each other: each alone, or in rounds for which all wait.

A loop yields requests to the policy and work items, and is sent the replies and results. Work is done by a `WorkerPool`; what
it raises is raised where the loop had asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial
from typing import Any, TypeVar

from memagent.errors import EngineError
from memagent.models.base import Reply, Request
from memagent_training.objectives.base import WorkItem
from memagent_training.rollouts.workers import WorkerPool

T = TypeVar("T")
WorkingLoop = Generator[Request | WorkItem, Any, T]


async def each_alone(
    loops: Sequence[WorkingLoop[T]], reply: Callable[[Request], Awaitable[Reply]], *, pool: WorkerPool
) -> list[T]:
    """Run the loops at the same time; the first error that no loop takes ends them all, and leaves no request behind.

    An `EngineError` of `reply` is the loop's to take.
    """

    async def answered(request: Request | WorkItem) -> Any:
        if not isinstance(request, WorkItem):
            try:
                return await reply(request)
            except EngineError as error:
                return error
        try:
            return await pool.run(request)
        except Exception as error:
            return error

    async def run(loop: WorkingLoop[T]) -> T:
        try:
            request = next(loop)
            while True:
                request = _told(loop, await answered(request))
        except StopIteration as end:
            result: T = end.value
            return result

    tasks = [asyncio.create_task(run(loop)) for loop in loops]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def in_rounds(
    loops: Sequence[WorkingLoop[T]],
    answer: Callable[[Sequence[Request]], Sequence[Reply]],
    *,
    pool: WorkerPool,
    go_on: Callable[[bool], bool] = bool,
) -> list[T]:
    """Run the loops in step: in each round `answer` gets the open requests at once, when all work is done. Loops that are done
    wait for the rest.

    `go_on` is told before each round whether any request is open here. Where several processes must call `answer` equally
    often, it says whether one is open anywhere, and `answer` may get none.
    """
    results: dict[int, T] = {}
    asked: dict[int, Request] = {}
    work: dict[int, WorkItem] = {}

    def step(number: int, advance: Callable[[], Request | WorkItem]) -> None:
        try:
            request = advance()
        except StopIteration as end:
            results[number] = end.value
            return
        if isinstance(request, WorkItem):
            work[number] = request
        else:
            asked[number] = request

    for number, loop in enumerate(loops):
        step(number, partial(next, loop))
    while True:
        while work:
            items = dict(work)
            work.clear()
            for number, outcome in zip(items, pool.outcomes(list(items.values())), strict=True):
                step(number, partial(_told, loops[number], outcome))
        if not go_on(bool(asked)):
            return [results[number] for number in range(len(loops))]
        requests = dict(sorted(asked.items()))
        asked.clear()
        for number, reply in zip(requests, answer(list(requests.values())), strict=True):
            step(number, partial(_told, loops[number], reply))


def _told(loop: WorkingLoop[T], outcome: Any) -> Request | WorkItem:
    """What the loop asks for next, given a reply, a result, or an exception in its place."""
    return loop.throw(outcome) if isinstance(outcome, Exception) else loop.send(outcome)
