"""A stand-in for the parts of Ray that benches use: tasks run when they are waited for, here, on pickled copies.

`Cluster.install` puts it in the place of the module. A unit whose worker shall die is named by `dies`, how often by `times`.
"""

from __future__ import annotations

import pickle
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest


class RayError(Exception):
    """Of Ray itself."""


class WorkerCrashedError(RayError):
    """A worker died."""


class RayTaskError(RayError):
    """What a task raised."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Cluster:
    """A Ray of one process."""

    def __init__(self, *, dies: Callable[[Any], bool] = lambda unit: False, times: int = 0) -> None:
        self.given: dict[str, Any] = {}
        """What `init` was given."""
        self.open = False
        self.tries: Counter[int] = Counter()
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self._dies, self._times = dies, times
        self._tasks: list[Callable[[], Any]] = []
        self._retries = 0

    def install(self, patch: pytest.MonkeyPatch) -> Cluster:
        patch.setitem(sys.modules, "ray", self)
        return self

    def init(self, address: str, **options: Any) -> None:
        if self.open:
            raise RuntimeError("init was called twice")
        self.open, self.given = True, {"address": address, **options}

    def shutdown(self) -> None:
        self.open = False

    def put(self, value: object) -> bytes:
        return pickle.dumps(value)

    def remote(self, *, max_retries: int) -> Callable[[Callable[..., Any]], Any]:
        self._retries = max_retries
        return lambda function: SimpleNamespace(remote=lambda held, unit: self._asked(function, held, unit))

    def _asked(self, function: Callable[..., Any], held: bytes, unit: Any) -> int:
        number, sent = len(self._tasks), pickle.dumps(unit)

        def task() -> Any:
            for _ in range(self._retries + 1):
                self.tries[number] += 1
                if not self._dies(unit) or self.tries[number] > self._times:
                    return pickle.loads(pickle.dumps(function(pickle.loads(held), pickle.loads(sent))))
                print("(raylet) A worker died.")
            raise WorkerCrashedError("The worker died unexpectedly.\nIts log is elsewhere.")

        self._tasks.append(task)
        return number

    def wait(self, refs: Sequence[int], *, num_returns: int) -> tuple[list[int], list[int]]:
        """The last one is ready first: order is not to be relied on."""
        return [refs[-1]], [*refs[:-1]]

    def get(self, ref: int) -> Any:
        try:
            return self._tasks[ref]()
        except RayError:
            raise
        except Exception as error:
            raise RayTaskError(error) from error
