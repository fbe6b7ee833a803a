"""Steps of agents' turns leave the interpreter to the verbs that others wait for."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from memagent.models import threads
from memagent.models.threads import on_thread
from memagent.models.wire.turns import turns


@pytest.mark.parametrize(("purpose", "rests"), [("store", [0.005, 0.02]), ("model", []), (None, [])])
def test_turns_rest_as_long_as_they_computed_while_a_verb_is_under_way(
    purpose: str | None, rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    rested: list[float] = []
    clock = iter((1.0, 1.005, 2.0, 9.0))  # of the computing of two steps, the second one very long
    monkeypatch.setattr(threads, "time", SimpleNamespace(thread_time=clock.__next__, sleep=rested.append))
    done = threading.Event()

    async def main() -> list[int]:
        other = asyncio.create_task(on_thread(purpose, done.wait)) if purpose else None
        await asyncio.sleep(0)
        found = [await on_thread("turn", abs, -number) for number in (1, 2)]
        done.set()
        if other is not None:
            await other
        assert turns().threads == 0
        return found

    assert asyncio.run(main()) == [1, 2]
    assert rested == pytest.approx(rests)


def test_a_step_that_fails_and_a_verb_that_is_cancelled_are_no_longer_counted() -> None:
    done = threading.Event()

    async def main() -> None:
        verb = asyncio.create_task(on_thread("store", done.wait))
        await asyncio.sleep(0.01)
        assert turns().threads == 1
        with pytest.raises(TypeError):
            await on_thread("turn", abs, "no number")
        verb.cancel()
        with pytest.raises(asyncio.CancelledError):
            await verb
        assert turns().threads == 0
        done.set()

    asyncio.run(main())
