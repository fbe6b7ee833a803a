"""Processes beside the one that trains, for what an episode computes: a drawing does not hold up what others generate.

Workers are spawned at the first piece of work, with one thread each, and end with the process that started them. What a
function raises there is raised here. A worker that is killed takes the work of the others in its pool with it; each piece is
then done once more, in a process of its own, so that only the work that kills its process again is given up.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from memagent.errors import MemAgentError
from memagent.forks import end_with_parent

if TYPE_CHECKING:  # a worker imports this module before it knows that it has one thread: nothing here loads NumPy
    from memagent_training.objectives.base import WorkItem

MOST = 8
"""Workers that a process has unless told otherwise."""


class WorkerDied(MemAgentError):
    """The process that did a piece of work was ended from outside, twice."""

    code = "worker"


def default_workers() -> int:
    """A core less than there are, shared by the training processes of this machine, and at most `MOST`."""
    from memagent_renderers.engines.workers import cores

    return min(MOST, (cores() - 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class WorkerPool:
    """So many worker processes; none: work is done here, where it is asked for."""

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers
        self._seconds = 0.0
        self._executor: ProcessPoolExecutor | None = None

    async def run(self, item: WorkItem) -> Any:
        """What the function gives. Raises what it raises, and `WorkerDied`."""
        if not self.workers:
            return self._counted(_timed(item.function, item.args))
        self._executor = executor = self._executor or _executor(self.workers)
        try:
            return await self._done(executor, item)
        except BrokenProcessPool:
            executor.shutdown(wait=False)
            if self._executor is executor:
                self._executor = None
        with _executor(1) as alone:
            try:
                return await self._done(alone, item)
            except BrokenProcessPool:
                name = getattr(item.function, "__qualname__", str(item.function))
                raise WorkerDied(
                    f"two processes in turn were ended from outside while they worked on `{name}`, perhaps for want of memory: "
                    f"lower rollouts.workers ({self.workers} here; 0: in the process that trains); a script of your own that "
                    'starts a training needs `if __name__ == "__main__":`'
                ) from None

    def outcomes(self, items: Sequence[WorkItem]) -> list[Any]:
        """What each item gives or, as a value, the exception that it raises; returns when all are done."""

        async def together() -> list[Any]:
            return await asyncio.gather(*map(self.run, items), return_exceptions=True)

        return asyncio.run(together())

    def metrics(self) -> dict[str, float]:
        """Seconds of work since it was last asked, over all workers; nothing where none was done."""
        seconds, self._seconds = self._seconds, 0.0
        return {"time/work": seconds} if seconds else {}

    def close(self) -> None:
        """End the workers as soon as they are done with what they do; they start again when there is more."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(cancel_futures=True)

    async def _done(self, executor: ProcessPoolExecutor, item: WorkItem) -> Any:
        return self._counted(await asyncio.wrap_future(executor.submit(_timed, item.function, item.args)))

    def _counted(self, done: tuple[Any, float]) -> Any:
        result, seconds = done
        self._seconds += seconds
        return result


def _executor(workers: int) -> ProcessPoolExecutor:
    spawn = get_context("spawn")  # a fork would copy the locks of running threads, and torch
    return ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker)


def _start_worker() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches workers too; the process that trains ends them
    end_with_parent()


def _timed(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
    began = time.perf_counter()
    try:
        return function(*args), time.perf_counter() - began
    except Exception as error:
        if _travels(error):
            raise
        raise RuntimeError(f"{type(error).__qualname__}: {error}") from error


def _travels(error: Exception) -> bool:
    """Whether an exception comes out of a pickle; one that does not would end the pool that it is sent through."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False
