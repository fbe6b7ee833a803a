"""What every bench runs on: results kept item by item, calls paid once, work in parallel, progress, failures as data.

`open_run` gives a `BenchRun` with a folder (the caller's, or one that goes with the run). A record is one JSON line in a file
named after a fingerprint of everything that shapes it, and each reply of a model is kept in a cache of calls, so the same
command takes a run up again at the item, and within an item at the call, where it was cut off: nothing is counted or paid
twice. Other settings, other data or another version of the code never meet in one file. An item that failed is a record with
its reason and zeros, never the end of a run, and is tried again by the next one.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from memagent.errors import InputError, unknown_name
from memagent.evaluation.report import code_digest, machine_facts
from memagent.forks import end_with_parent
from memagent.models.base import ChatModel
from memagent.models.cached import CachedModel, CallCache
from memagent.models.concurrency import CallPool
from memagent.retrieval.embedders.cached import CachedEmbedder, single_threaded_blas
from memagent.retrieval.embedders.registry import load_embedder, resolve_embedder
from memagent_renderers.engines.workers import cores

T = TypeVar("T")
U = TypeVar("U")
LISTED_FAILURES = 20
"""Failures that a report lists; it counts all of them."""


# -- progress ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """Where a run prints what it is doing. Silent by default; the CLI prints to stderr."""

    say: Callable[[str], None] = lambda text: None
    bar: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = lambda label, total: nullcontext(
        lambda done: None
    )
    """Shows how far something is: a label and a total, then what is called with the units just done."""


SILENT = Progress()


# -- settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every bench of memories can be told. A bench adds fields and its names of methods."""

    which_items: ClassVar[tuple[str, ...]] = ("methods", "budgets", "limit", "concurrency")
    """Fields that say which items there are, or how fast they are made, and shape none of them."""

    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    """Tokens of the views."""
    embedder: str | None = "auto"
    """A name, "auto" for the best installed, or None: search by words only."""
    limit: int | None = None
    """Most questions or users, the first of the data; None for all."""
    concurrency: int = 4
    """Units under way, and model calls, at once."""

    def __post_init__(self) -> None:
        known = self.known_methods()
        for name in self.methods:
            if known and name not in known:
                raise unknown_name("method of this bench", name, known)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(f"each method is named once, one at least; these are: {', '.join(self.methods) or 'none'}")
        if not self.budgets:
            raise InputError("at least one budget is needed, such as 64")
        self.check_positive("limit", "concurrency")

    def known_methods(self) -> Sequence[str]:
        """Names that are allowed; empty: the bench checks them itself."""
        return ()

    def check_positive(self, *names: str) -> None:
        """Raise `InputError` for a field that is below 1; None is no limit."""
        for name in names:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is 1 or more, not {value}")

    @property
    def embedder_name(self) -> str | None:
        return resolve_embedder(self.embedder)

    def shaping(self) -> dict[str, Any]:
        """Everything here that shapes an item, and the code and libraries that make it."""
        fields = {name: value for name, value in asdict(self).items() if name not in self.which_items}
        return {**fields, "embedder": self.embedder_name, "code": code_digest(), "libraries": machine_facts()["versions"]}


def fingerprint(shaping: Mapping[str, Any]) -> str:
    """A short name for everything that shapes an item."""
    return hashlib.sha256(json.dumps(shaping, sort_keys=True, default=str).encode()).hexdigest()[:12]


# -- records ----------------------------------------------------------------------------------------------------------


class ResultRecord(BaseModel, ABC):
    """One item of a bench. A bench brings its fields and the `key`."""

    model_config = ConfigDict(frozen=True)

    error: str | None = None
    """Why it failed; its values are 0 then."""

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """Which item it is."""


R = TypeVar("R", bound=ResultRecord)


class ResultLog(Generic[R]):
    """Records of one kind, one JSON line each; without a file in memory alone. Threads may share it.

    Of several lines for one item the last counts; half a line, which a crash may leave, is passed over.
    """

    def __init__(self, file: Path | None, *, kind: type[R]) -> None:
        self.items: dict[Hashable, R] = {}
        self.file = file
        self._lock = threading.Lock()
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_bytes().decode("utf-8", "replace") if file.exists() else ""
        for line in text.split("\n"):  # not `splitlines`: JSON leaves other line ends within a text as they are
            with suppress(ValidationError):
                item = kind.model_validate_json(line)
                self.items[item.key] = item
        if text and not text.endswith("\n"):
            with file.open("a", encoding="utf-8") as opened:
                opened.write("\n")

    def done(self, key: Hashable) -> bool:
        """Whether the item is there and did not fail."""
        return key in self.items and self.items[key].error is None

    def add(self, item: R) -> None:
        with self._lock:
            self.items[item.key] = item
            if self.file is not None:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(item.model_dump_json(exclude_none=True) + "\n")

    def extend(self, items: Iterable[R]) -> None:
        """Add each as soon as it is made."""
        for item in items:
            self.add(item)


def reason(error: BaseException) -> str:
    """A failure as a record keeps it."""
    return f"{type(error).__name__}: {error}"


def failures_of(items: Iterable[ResultRecord]) -> dict[str, Any]:
    """How many items failed and the first of them, for `meta`."""
    failed = [item for item in items if item.error is not None]
    return {"count": len(failed), "first": [f"{item.key}: {item.error}" for item in failed[:LISTED_FAILURES]]}


# -- a run ------------------------------------------------------------------------------------------------------------


class BenchRun:
    """A run under way. Made by `open_run`."""

    def __init__(self, folder: Path, *, kept: bool, calls: CallCache, pool: CallPool, progress: Progress) -> None:
        self.folder = folder
        """The caller's, or one that is deleted at the end."""
        self.kept = kept
        """Whether the folder stays."""
        self.calls = calls
        self.pool = pool
        """Limits what is under way, model calls included."""
        self.progress = progress
        self.embedder: CachedEmbedder | None = None
        """Shared by all memories of the run: each text is embedded once, alone, so that vectors do not depend on order."""

    def log(self, kind: type[R], shaping: Mapping[str, Any]) -> ResultLog[R]:
        """The records that were and will be made under these settings."""
        return ResultLog(self.folder / f"items-{fingerprint(shaping)}.jsonl" if self.kept else None, kind=kind)

    def model(self, model: ChatModel, *, done: Callable[[int], None] = lambda _: None) -> CachedModel:
        """The model with its replies kept and its calls limited; `done` is called with 1 after each call."""
        return CachedModel(model, self.calls, limit=self.pool, done=lambda _: done(1))

    def map(self, label: str, work: Callable[[U], T], units: Sequence[U]) -> list[T]:
        """What the work gives for each unit, in order, `concurrency` at once, with a bar. An error ends the run."""
        with self.progress.bar(label, len(units)) as done:

            def one(unit: U) -> T:
                result = work(unit)
                done(1)
                return result

            return self.pool.map(one, units)


@contextmanager
def open_run(
    out: Path | None = None, *, concurrency: int = 4, embedder: str | None = None, progress: Progress = SILENT
) -> Iterator[BenchRun]:
    """A run that keeps its results in `out`, or nothing without it. `embedder` is a name, or None for none.

    Raises `StoreLocked` where another run goes on in the folder, and `MissingExtra` for an embedder that is not installed.
    """
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(single_threaded_blas())
        calls = stack.enter_context(CallCache(folder))
        run = BenchRun(folder, kept=out is not None, calls=calls, pool=CallPool(concurrency), progress=progress)
        if embedder is not None:
            run.embedder = CachedEmbedder(load_embedder(embedder), one_by_one=True)
        yield run


# -- processes --------------------------------------------------------------------------------------------------------


def in_processes(
    label: str, work: Callable[[U], T], units: Sequence[U], *, workers: int | None = None, progress: Progress = SILENT
) -> list[T]:
    """What the work, a function of a module, gives for each unit, in order, in as many processes as there are cores."""
    count = min(workers or cores(), len(units))
    with progress.bar(label, len(units)) as done:
        if count <= 1:
            results = []
            for unit in units:
                results.append(work(unit))
                done(1)
            return results
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of running threads
        with ProcessPoolExecutor(count, mp_context=spawn, initializer=end_with_parent) as pool:
            asked = [pool.submit(work, unit) for unit in units]
            try:
                for one in as_completed(asked):
                    one.result()
                    done(1)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            return [one.result() for one in asked]
