"""Calls that could all go on at once leave the loop, and the interpreter, to others."""

from __future__ import annotations

import asyncio
import time

import pytest

from memagent.models.wire.turns import turns

CALLS = 200


def compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def call(number: int, taken: list[int | str], seconds: float = 0.0) -> None:
    await turns().take()
    compute(seconds)
    taken.append(number)


def test_others_of_the_loop_go_on_between_any_few_steps() -> None:
    taken: list[int | str] = []

    async def other() -> None:
        while len(taken) < CALLS:
            taken.append("other")
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(other(), *(call(number, taken) for number in range(CALLS)))

    asyncio.run(main())
    assert [one for one in taken if one != "other"] == list(range(len(taken) - taken.count("other")))
    runs = "".join("o" if one == "other" else "c" for one in taken[: len(taken) // 2]).split("o")
    assert max(map(len, runs)) <= 2


def test_who_is_cancelled_takes_nobodys_turn() -> None:
    taken: list[int | str] = []

    async def main() -> None:
        calls = [asyncio.create_task(call(number, taken)) for number in range(CALLS)]
        await asyncio.sleep(0)
        for one in calls[::2]:
            one.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await call(CALLS, taken)  # one that comes when nobody waits is given its turn too

    asyncio.run(main())
    assert taken == [*range(1, CALLS, 2), CALLS]


@pytest.mark.parametrize("threads", [1, 2])
def test_steps_leave_threads_twice_as_long(threads: int) -> None:
    async def main() -> float:
        turns().threads += threads
        began = time.perf_counter()
        await asyncio.gather(*(call(number, [], seconds=0.001) for number in range(40)))
        return time.perf_counter() - began

    assert asyncio.run(main()) > 0.04 + 0.06  # the last steps need no pause after them


def test_a_pause_is_short_even_after_a_step_that_was_long() -> None:
    async def main() -> float:
        turns().threads += 1
        calls = [asyncio.create_task(call(number, [], seconds=0.5 if number == 3 else 0.0)) for number in range(8)]
        await calls[3]
        began = time.perf_counter()
        await asyncio.gather(*calls)
        return time.perf_counter() - began

    assert asyncio.run(main()) < 0.5
