"""Calls that are paid once: the cache of replies in the folder of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.counting_model import Counting, ask
from pydantic import BaseModel

from memagent.errors import MalformedOutput, ModelError, StoreCorrupt, StoreLocked
from memagent.models.base import Request
from memagent.models.cached import CachedModel, CallCache, call_key
from memagent.models.concurrency import CallPool
from memagent.models.fake import FakeModel
from memagent.types import ImagePart, user_message


class Number(BaseModel):
    number: int


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


def test_nothing_secret_or_said_by_us_is_stored(tmp_path: Path) -> None:
    with CallCache(tmp_path) as cache:
        CachedModel(FakeModel("fine"), cache).generate([user_message("my secret question")])
        stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"fine" in stored
    assert b"secret" not in stored
