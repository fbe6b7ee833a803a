"""Many model calls at once: never more than the limit, tried again where that can help, stopped together."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from helpers.counting_model import Counting, ask

from memagent.errors import ConfigError, InputError, MemAgentError, ModelError
from memagent.models.base import ChatModel
from memagent.models.cached import CachedModel, CallCache
from memagent.models.concurrency import CallCancelled, CallPool


def test_sixteen_calls_at_once_give_at_least_twelve_times_the_throughput_of_one(tmp_path: Path) -> None:
    def rate(size: int, calls: int) -> float:
        model = Counting(delay=0.15)
        limit = CallPool(size)
        with CallCache(tmp_path / f"{size} {time.monotonic_ns()}") as cache:
            cached = CachedModel(model, cache, limit=limit)
            began = time.perf_counter()
            limit.map(lambda number: ask(cached, str(number)), range(calls))
            assert model.calls == calls
            assert model.most == size
            return calls / (time.perf_counter() - began)

    one = rate(1, 6)
    assert any(rate(16, 128) >= 12 * one for _ in range(3))  # others may use the machine for a moment


def test_what_may_pass_is_tried_again_a_bounded_number_of_times() -> None:
    busy = [ModelError("busy", retryable=True, status=429) for _ in range(3)]
    assert ask_limited(Counting(errors=tuple(busy[:2]))) == "a!"
    with pytest.raises(ModelError, match="busy"):
        ask_limited(Counting(errors=tuple(busy)))
    refused = Counting(errors=(ModelError("too long", status=400),))
    with pytest.raises(ModelError, match="too long"):
        ask_limited(refused)
    assert refused.calls == 1


def ask_limited(model: ChatModel) -> str:
    return CallPool(2, pause=0.001).run(lambda: ask(model, "a"))


@pytest.mark.parametrize(
    "error", [ModelError("no key", status=401), ModelError("no model", status=404), ConfigError("no picture")]
)
def test_what_makes_every_call_fail_stops_them_all(error: MemAgentError) -> None:
    model, limit = Counting(errors=(error,)), CallPool(1)
    with pytest.raises(type(error), match=str(error)):
        limit.map(lambda text: limit.run(lambda: ask(model, text)), "abc")
    assert model.calls == 1
    with pytest.raises(CallCancelled, match=str(error)):
        limit.run(lambda: ask(model, "d"))


def test_a_server_that_is_gone_stops_all_calls() -> None:
    model = Counting(errors=tuple(ModelError("no connection", retryable=True) for _ in range(8)))
    limit = CallPool(1, tries=2, pause=0.001, most_failures=3)
    for _ in range(2):
        with pytest.raises(ModelError, match="no connection"):
            limit.run(lambda: ask(model, "a"))
    with pytest.raises(CallCancelled, match="no connection"):
        limit.run(lambda: ask(model, "a"))
    assert model.calls == 6


def test_an_error_outside_of_calls_ends_the_map_and_is_raised() -> None:
    def broken(number: int) -> int:
        if number == 1:
            raise ZeroDivisionError
        return number

    limit = CallPool(2)
    with pytest.raises(ZeroDivisionError):
        limit.map(broken, range(50))
    with pytest.raises(CallCancelled):
        limit.run(lambda: 1)
    assert CallPool(2).map(broken, [0, 2]) == [0, 2]
    assert CallPool(2).map(broken, []) == []


def test_an_interrupt_ends_the_map_and_what_runs_makes_no_further_call() -> None:
    model, limit = Counting(delay=0.05), CallPool(2)

    def endless(_: int) -> None:
        while True:
            limit.run(lambda: ask(model, "a"))

    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        limit.map(endless, range(5))
    interrupt.join()
    made = model.calls
    assert 2 <= made <= 12
    with pytest.raises(CallCancelled, match="interrupted"):
        limit.run(lambda: ask(model, "a"))
    assert model.calls == made


@pytest.mark.parametrize("values", [{"size": 0}, {"size": 1, "tries": 0}])
def test_impossible_limits_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(InputError):
        CallPool(**values)  # type: ignore[arg-type]
