"""Many answers at once wait on the network, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from helpers import slow_server

from memagent import AsyncAgent, AsyncMemory, AsyncStore
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.types import user_message

ANSWERS, SECONDS = 500, 2.0


@pytest.fixture
def model() -> Iterator[OpenAICompatibleModel]:
    """A model whose answers take two seconds, at a server in a process of its own."""
    command = [sys.executable, str(Path(slow_server.__file__)), str(SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield OpenAICompatibleModel("slow", base_url=f"http://127.0.0.1:{port}/v1")
        process.kill()


async def _calls_of_others(memory: AsyncMemory, done: asyncio.Event) -> float:
    """Seconds, at the 95th percentile, that adding and recalling take somebody else meanwhile."""
    times = []
    while not done.is_set() or len(times) < 40:
        for verb in (memory.add(f"fact {len(times)}"), memory.recall("fact", budget=100)):
            began = time.perf_counter()
            await verb
            times.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    return sorted(times)[int(len(times) * 0.95)]


async def _measured(folder: Path, many: Callable[[AsyncStore], list[Awaitable[object]]]) -> dict[str, float]:
    """Wall and CPU seconds of many calls at once, and how long others wait, alone and meanwhile."""
    async with AsyncStore(folder, embedder=HashEmbedder()) as store:
        memory, done, calls = store.memory("rag", user="somebody else"), asyncio.Event(), many(store)
        done.set()
        alone = await _calls_of_others(memory, done)
        done.clear()
        others = asyncio.create_task(_calls_of_others(memory, done))
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*calls)
        took = {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        done.set()
        return took | {"alone": alone, "meanwhile": await others}


def _check(took: dict[str, float], *, cpu: float) -> None:
    """CPU time is bounded on any machine; on one that does nothing else, so is everything."""
    shown = {name: round(value, 3) for name, value in took.items()}
    print(f"{ANSWERS} of {SECONDS:g} s, in seconds: {shown}, load {os.getloadavg()[0]:.1f}")
    assert took["cpu"] < cpu, shown
    if os.getloadavg()[0] < 1.5:
        assert took["wall"] < 6, shown
        assert took["meanwhile"] < max(0.02, 2 * took["alone"]), shown


@pytest.mark.slow
def test_hundreds_of_answers_take_hardly_longer_than_one(model: OpenAICompatibleModel, tmp_path: Path) -> None:
    asked = [user_message("hello")]
    took = asyncio.run(_measured(tmp_path, lambda _: [model.agenerate(asked) for _ in range(ANSWERS)]))
    _check(took, cpu=3.5)


@pytest.mark.slow
def test_turns_of_hundreds_of_agents_keep_nobody_else_waiting(model: OpenAICompatibleModel, tmp_path: Path) -> None:
    def turns(store: AsyncStore) -> list[Awaitable[object]]:
        users = (store.memory("rag", user=f"user {number}") for number in range(ANSWERS))
        return [AsyncAgent(model=model, memory=memory).run("hello") for memory in users]

    took = asyncio.run(_measured(tmp_path, turns))
    shown = {name: round(value, 3) for name, value in took.items()}
    print(f"{ANSWERS} turns, in seconds: {shown}")
    assert took["meanwhile"] < max(0.02, 25 * took["alone"]), shown  # where they queued behind the turns it was 2,000 times
