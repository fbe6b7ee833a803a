"""Questions about long contexts as tasks of Ray: a worker opens the bench once, and makes the records of one unit at a time.

A worker has its own embedder, reader of pictures and connection to the model. Records are kept by the process that started
the run when their unit is whole; replies of a model are kept by the worker alone, so a unit that was cut off is paid again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from socket import gethostname

from memagent.environments.long_qa.dataset_files import Questions
from memagent.environments.long_qa.results import Prediction
from memagent.environments.long_qa.run import Ask, Due, LongQaBench, open_bench
from memagent.environments.long_qa.settings import LongQaSettings
from memagent.errors import ConfigError
from memagent.evaluation.ray_tasks import in_ray
from memagent.evaluation.runner import fingerprint
from memagent.models.base import ChatModel

LoadModel = Callable[[], ChatModel]
"""Loads the model that answers, in each worker: a function that can be pickled."""


def by_ray(address: str, settings: LongQaSettings, *, load_model: LoadModel | None = None) -> Ask:
    """What `measure` takes to have its records made by Ray."""

    def ask(questions: Questions, bench: LongQaBench, due: list[Due]) -> None:
        work = partial(_records, fingerprint(bench.shaping), questions, settings, load_model)
        in_ray("questions", work, due, address=address, keep=bench.log.extend, progress=bench.run.progress)

    return ask


_opened: dict[str, LongQaBench] = {}
"""The bench of this process, where it is a worker, by fingerprint."""
_open = ExitStack()


def _records(
    name: str, questions: Questions, settings: LongQaSettings, load_model: LoadModel | None, due: Due
) -> list[Prediction]:
    if name not in _opened:
        model = None if load_model is None else _open.enter_context(load_model())
        bench = _open.enter_context(open_bench(questions, settings, model=model, read_here=True))
        if fingerprint(bench.shaping) != name:
            parts = f"embedder {bench.shaping['embedder']}, model {bench.shaping['model']}, tokens by {bench.shaping['tokens']}"
            raise ConfigError(f"the worker on {gethostname()} has other parts ({parts}); install there what this machine has")
        _opened[name] = bench
    bench = _opened[name]
    records: list[Prediction] = []
    bench.run.map("unit", lambda one: bench.make(*one, keep=records.append), [due])  # raises what stopped the calls
    return records
