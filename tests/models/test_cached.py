"""Calls that are paid once, many at a time: the cache of replies and the limit of calls."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from pydantic import BaseModel

from memagent.errors import ConfigError, InputError, MalformedOutput, MemAgentError, ModelError, StoreCorrupt, StoreLocked
from memagent.models.base import ChatModel, Request
from memagent.models.cached import CachedModel, CallCache, call_key
from memagent.models.concurrency import CallCancelled, CallPool
from memagent.models.fake import Fake, FakeModel
from memagent.types import ImagePart, user_message


class Counting(Fake):
    """Answers with what it was asked, after a while, and counts; raises what it is given first."""

    def __init__(self, *, delay: float = 0.0, errors: tuple[Exception, ...] = ()) -> None:
        super().__init__("counting")
        self.calls, self.most = 0, 0
        self._delay, self._errors = delay, list(errors)
        self._at_once, self._guard = 0, threading.Lock()

    def _say(self, request: Request) -> str:
        with self._guard:
            self.calls += 1
            self._at_once += 1
            self.most = max(self.most, self._at_once)
            error = self._errors.pop(0) if self._errors else None
        time.sleep(self._delay)
        with self._guard:
            self._at_once -= 1
        if error is not None:
            raise error
        return f"{request.messages[-1].text}!"


class Number(BaseModel):
    number: int


def ask(model: ChatModel, text: str) -> str:
    return model.generate([user_message(text)]).text


def test_a_call_is_paid_once_also_by_the_next_process_and_reports_the_same_usage(tmp_path: Path) -> None:
    model = Counting()
    with CallCache(tmp_path) as cache:
        first = CachedModel(model, cache).generate([user_message("a")])
        again = CachedModel(model, cache).generate([user_message("a")])
        assert (cache.paid, cache.hits) == (1, 1)
    with CallCache(tmp_path) as cache:
        later = CachedModel(model, cache).generate([user_message("a")])
        assert (cache.paid, cache.hits) == (0, 1)
        assert cache.total() == first.usage
    assert first == again == later
    assert first.usage.calls == 1
    assert model.calls == 1


REQUEST = Request((user_message("a"),))
PICTURES = [ImagePart(data=bytes([k])) for k in range(2)]


@pytest.mark.parametrize(
    "other",
    [
        Request((user_message("b"),)),
        Request((user_message("a"), user_message("a"))),
        Request((user_message("a", PICTURES[0]),)),
        Request((user_message("a", PICTURES[1]),)),
        Request((user_message("a"),), max_tokens=9),
        Request((user_message("a"),), temperature=0.2),
        Request((user_message("a"),), stop=("x",)),
        Request((user_message("a"),), schema=Number),
        Request((user_message("a"),), seed=1),
        Request((user_message("a"),), timeout=1.0),
    ],
)
def test_calls_that_ask_for_something_else_have_keys_of_their_own(other: Request) -> None:
    assert call_key("m", REQUEST) == call_key("m", Request((user_message("a"),)))
    assert call_key("m", REQUEST) != call_key("n", REQUEST)
    assert call_key("m", REQUEST) != call_key("m", other)
    if other.messages[0].images:
        swapped = Request((user_message("a", PICTURES[other.messages[0].images[0] == PICTURES[0]]),))
        assert call_key("m", other) != call_key("m", swapped)


def test_equal_calls_under_way_are_made_once(tmp_path: Path) -> None:
    model, limit = Counting(delay=0.1), CallPool(8)
    with CallCache(tmp_path) as cache:
        cached = CachedModel(model, cache, limit=limit)
        assert limit.map(lambda text: ask(cached, text), ["a", "b"] * 4) == ["a!", "b!"] * 4
        assert (model.calls, cache.paid, cache.hits) == (2, 2, 6)


def test_failures_are_not_kept_and_malformed_answers_are(tmp_path: Path) -> None:
    model = Counting(errors=(ModelError("too long"),))
    with CallCache(tmp_path) as cache:
        cached = CachedModel(model, cache)
        with pytest.raises(ModelError, match="too long"):
            ask(cached, "a")
        assert ask(cached, "a") == "a!"
        for _ in range(2):
            with pytest.raises(MalformedOutput):
                cached.generate([user_message("n")], schema=Number)
        assert model.calls == 3
        assert CachedModel(FakeModel('{"number": 3}'), cache).generate([user_message("n")], schema=Number).parsed == Number(
            number=3
        )


def test_a_folder_belongs_to_one_run_and_a_broken_file_is_named(tmp_path: Path) -> None:
    with CallCache(tmp_path), pytest.raises(StoreLocked, match="another run"):
        CallCache(tmp_path)
    with CallCache(tmp_path):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "calls.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(StoreCorrupt, match=r"calls\.sqlite"):
        CallCache(tmp_path / "other")


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


def test_nothing_secret_or_said_by_us_is_stored(tmp_path: Path) -> None:
    with CallCache(tmp_path) as cache:
        CachedModel(FakeModel("fine"), cache).generate([user_message("my secret question")])
        stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"fine" in stored
    assert b"secret" not in stored
