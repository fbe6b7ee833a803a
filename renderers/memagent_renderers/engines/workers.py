"""Processes of our own that lay out and draw beside this one, so that a batch uses all cores.

Layout is Python and holds the interpreter's lock, so threads would not do. `multiprocessing` would not either: starting
its processes runs the user's main module again, and forking is unsafe beside threads. A worker is a bare interpreter
with a pipe in and a pipe out; a job is a pickled function and its argument. It ends when its input does, so it never
outlives this program, however that ends. Workers are started when a batch is large enough to need them, and kept.

A worker that dies, or that takes too long over a job and is ended for it, is replaced and its job tried once more; one
that has done `WORKER_JOBS` makes room for a new one. A job that fails in a worker is done again here, where it raises
what it would have raised anyway.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import IO, Any, TypeVar

from memagent_renderers.errors import RenderError

JOB_SECONDS = 30.0
"""A worker that takes longer over one job is taken for hung."""
JOBS_EACH = 16
"""A further worker is started for each so many jobs, up to the number of cores."""
WORKER_JOBS = 500
"""After so many jobs a worker is replaced, so that what its caches and the engine gather does not add up."""

_BOOT = (
    "import sys,pickle;sys.path[:]=pickle.load(sys.stdin.buffer);from memagent_renderers.engines.workers import serve;serve()"
)

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """A pool that starts empty. One batch at a time; safe to share between threads."""

    def __init__(self, *, job_seconds: float = JOB_SECONDS) -> None:
        self._job_seconds = job_seconds
        self._workers: list[_Worker] = []
        self._turn = threading.Lock()
        self._owner = os.getpid()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that were started and not yet ended."""
        return [worker.pid for worker in self._workers]

    def map(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
        """`function` of every job, in order. It must be found by name in its module, and the jobs must pickle.

        Raises what `function` raises, and `RenderError` for a job over which two workers died or hung.
        """
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(len(jobs)):
            todo.put(index)
        results: dict[int, Result] = {}

        def run(place: int) -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    index = todo.get_nowait()
                    results[index] = self._do(place, function, jobs[index])

        with self._turn:
            count = min(cores(), -(-len(jobs) // JOBS_EACH))
            self._workers += [_Worker() for _ in range(count - len(self._workers))]
            with ThreadPoolExecutor(max(1, count)) as threads:
                list(threads.map(run, range(count)))
        return [results[index] for index in range(len(jobs))]

    def close(self) -> None:
        """Ends the workers and waits until they are gone; a later batch starts new ones."""
        if self._owner != os.getpid():
            return  # a forked copy of this program; the workers are not its own
        with self._turn:
            for worker in self._workers:
                worker.end()
            self._workers.clear()

    def _do(self, place: int, function: Callable[[Job], Result], job: Job) -> Result:
        request = pickle.dumps((function, job))
        if self._workers[place].jobs >= WORKER_JOBS:
            self._renew(place)
        for _ in range(2):
            try:
                done, result = self._workers[place].ask(request, self._job_seconds)
            except (OSError, EOFError, pickle.UnpicklingError):
                self._renew(place)
                continue
            return result if done else function(job)
        raise RenderError(f"two processes in turn died over one job, or took more than {self._job_seconds:g} s for it")

    def _renew(self, place: int) -> None:
        self._workers[place].end()
        self._workers[place] = _Worker()


@cache
def _workers_of(_process: int) -> Workers:
    workers = Workers()
    atexit.register(workers.close)
    return workers


def shared_workers() -> Workers:
    """The workers of this process; they end with it. A process made by forking has its own."""
    return _workers_of(os.getpid())


class _Worker:
    def __init__(self) -> None:
        self.jobs = 0
        command = [sys.executable, "-I", "-c", _BOOT]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with contextlib.suppress(OSError):  # dead already: the first job will tell
            self._send(pickle.dumps(sys.path))

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: bytes, seconds: float) -> tuple[bool, Any]:
        """Whether the job was done, and its result."""
        assert self._process.stdout
        watch = threading.Timer(seconds, self._process.kill)
        watch.start()
        self.jobs += 1
        try:
            self._send(request)
            done, result = pickle.load(self._process.stdout)
        finally:
            watch.cancel()
        return bool(done), result

    def end(self) -> None:
        """Ends the process at once; between jobs it holds nothing worth keeping."""
        self._process.kill()
        self._process.wait()
        for pipe in filter(None, (self._process.stdin, self._process.stdout)):
            with contextlib.suppress(OSError):  # what was still to be sent has no taker
                pipe.close()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()


def serve() -> None:
    """What a worker does until its input ends. Whatever the jobs print goes to stderr, out of the way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which then ends us
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            function, job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = pickle.dumps((True, function(job)))
        except Exception:
            answer = pickle.dumps((False, None))
        answers.write(answer)
        answers.flush()
