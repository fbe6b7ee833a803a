"""Errors survive the way from one process to another, with all that they carry."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from memagent.errors import MalformedOutput, MemAgentError, MissingExtra, ModelError, PartialWrite


def kinds(kind: type[MemAgentError] = MemAgentError) -> Iterator[type[MemAgentError]]:
    for name in ("errors", "models.concurrency"):
        importlib.import_module(f"memagent.{name}")
    for one in kind.__subclasses__():
        yield one
        yield from kinds(one)


MADE: list[MemAgentError] = [
    MalformedOutput("bad", output="{"),
    MissingExtra("a browser", "pip install it"),
    ModelError("busy", retryable=True, status=503, request_id="r1"),
    PartialWrite("half", stored=("m1",), not_stored=("m2", "m3")),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_is_pickled_and_copied_with_its_attributes(error: MemAgentError) -> None:
    error.add_note("seen in a worker")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert (str(again), again.args, again.__dict__) == (str(error), error.args, error.__dict__)


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=lambda kind: kind.__name__))
def test_every_kind_of_error_is_pickled(kind: type[MemAgentError]) -> None:
    error = kind.__new__(kind)
    error.args = ("what was seen",)
    assert type(pickle.loads(pickle.dumps(error))) is kind


def fail() -> None:
    error = MalformedOutput("bad", output="{")
    error.partial = "so far"
    raise error


@pytest.mark.slow
def test_an_error_of_a_worker_arrives_as_it_was_raised() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(MalformedOutput, match="bad") as caught:
            pool.submit(fail).result()
        assert (caught.value.output, caught.value.partial, caught.value.retryable) == ("{", "so far", True)
