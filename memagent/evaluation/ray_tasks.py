"""Units of a bench as tasks of Ray, on the machines of a cluster or the cores of this one.

Each unit is a task of one core. Its result comes back to the process that started the run, which alone writes: a run that
was cut off is taken up again as one without Ray, and a machine of the cluster needs neither the data nor the folder, but the
same version of this package and its libraries, which each task compares. A task whose worker died is given to another one a
few times; then, or when a unit raises, the run ends, and what is kept stays.

Ray sends statistics of use and starts a dashboard unless it is told not to: here it is told.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TypeVar

from memagent.errors import ConfigError, MissingExtra, WorkerLost
from memagent.evaluation.report import code_digest, machine_facts
from memagent.evaluation.runner import SILENT, Progress
from memagent_renderers.engines.workers import cores

T = TypeVar("T")
U = TypeVar("U")

LOCAL = "local"
"""The address that starts a Ray of this machine, for this run alone."""
RETRIES = 3
"""Further workers that get a unit whose worker died."""
CONNECT_SECONDS = 5.0
"""Ray itself tries an address where nothing listens for minutes."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # tasks that ask for no accelerator still see those of their machine
}
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
_SHORT = "/tmp" if os.path.isdir("/tmp") else None
"""Where a local Ray has its sockets: their paths may have 100 characters, which the temporary folder of macOS exceeds."""


def in_ray(
    label: str,
    work: Callable[[U], T],
    units: Sequence[U],
    *,
    address: str,
    keep: Callable[[T], None] = lambda result: None,
    progress: Progress = SILENT,
) -> list[T]:
    """What the work, a function of a module, gives for each unit, in order; `keep` is called with each as soon as it is there.

    `address` is `local`, `auto`, or host:port of a cluster. Raises `MissingExtra` without Ray, `ConfigError` for an address
    where there is none or workers that run other code, `WorkerLost`, and what a unit raises.
    """
    with _joined(address) as ray, progress.bar(label, len(units)) as done:
        held = ray.put((work, _made_by()))
        task = ray.remote(max_retries=RETRIES)(_worked)
        places = {task.remote(held, unit): place for place, unit in enumerate(units)}
        results: dict[int, T] = {}
        while len(results) < len(units):
            [ready], _ = ray.wait([one for one, place in places.items() if place not in results], num_returns=1)
            results[places[ready]] = result = _result(ray, ready)
            keep(result)
            done(1)
    return [results[place] for place in range(len(units))]


def _worked(held: tuple[Callable[[U], T], dict[str, str]], unit: U) -> T:
    """What a worker does with a unit."""
    work, made_by = held
    mine = _made_by()
    if other := [name for name in sorted({*made_by, *mine}) if made_by.get(name) != mine.get(name)]:
        seen = ", ".join(f"{name} {mine.get(name, 'absent')} for {made_by.get(name, 'absent')}" for name in other)
        raise ConfigError(f"the worker on {socket.gethostname()} has {seen}; install there what this machine has")
    return work(unit)


def _result(ray: ModuleType, ready: Any) -> Any:
    try:
        return ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from error
    except ray.exceptions.RayError as error:
        why = str(error).strip().split("\n")[0]
        message = f"a unit of work was lost with its worker {RETRIES + 1} times ({type(error).__name__}: {why})"
        raise WorkerLost(f"{message}; the same command goes on where this run stopped") from error


@cache
def _made_by() -> dict[str, str]:
    return {"code": code_digest(), **machine_facts()["versions"]}


@contextmanager
def _joined(address: str) -> Iterator[ModuleType]:
    """Ray, joined to a cluster; one that was started for this goes with it, and its files."""
    os.environ.update(_ENVIRONMENT)
    try:
        import ray
    except ImportError:
        raise MissingExtra("Ray", "pip install 'memagent[ray]'") from None
    with (
        TemporaryDirectory(prefix="ray-", dir=_SHORT, ignore_cleanup_errors=True) as place,
        redirect_stdout(sys.stderr),  # where Ray prints that a worker died, stdout is for the result alone
    ):
        before = signal.getsignal(signal.SIGTERM)
        try:
            if address == LOCAL:
                with _temporary_files_in(place):
                    ray.init(LOCAL, num_cpus=cores(), include_dashboard=False, _temp_dir=place, **_QUIET)
            else:
                _check(address)
                ray.init(address, **_QUIET)
        except (OSError, RuntimeError, ValueError) as error:
            how = f"give --ray {LOCAL}, or host:port of a cluster that `ray start --head` began with this version of Ray"
            raise ConfigError(f"no Ray could be joined at {address!r}: {error}; {how}") from error
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray puts one of its own there
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """Processes that are started meanwhile keep theirs there: Ray ends its workers in a way that leaves them lying."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _check(address: str) -> None:
    """Raise `OSError` where nothing listens; an address without a port is Ray's to find."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
