"""Many answers at once wait on the network, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import resource
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

ANSWERS, SECONDS, TURNS = 500, 2.0, 300
MOST_WALL, MOST_WAIT = 6.0, 0.02
"""Seconds in which all answers are there; and those that a verb of somebody else takes at the 95th percentile."""
Waits = dict[str, float]


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Iterator[OpenAICompatibleModel]:
    """A model whose answers take some seconds, at a server in a process of its own."""
    command = [sys.executable, str(Path(slow_server.__file__)), str(getattr(request, "param", SECONDS))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield OpenAICompatibleModel("slow", base_url=f"http://127.0.0.1:{port}/v1")
        process.kill()


async def _waits_of_others(memory: AsyncMemory, done: asyncio.Event) -> Waits:
    """Seconds, at the 95th percentile, that adding and recalling take somebody else."""
    times: dict[str, list[float]] = {"add": [], "recall": []}
    while not done.is_set() or len(times["add"]) < 40:
        for name, verb in (("add", memory.add(f"fact {len(times['add'])}")), ("recall", memory.recall("fact", budget=100))):
            began = time.perf_counter()
            await verb
            times[name].append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    return {name: sorted(found)[int(len(found) * 0.95)] for name, found in times.items()}


def _processor() -> tuple[float, float]:
    """Seconds that the threads of this process had a processor so far, and that they were ready and had to wait for one."""
    found = [task.read_text().split() for task in Path("/proc/self/task").glob("*/schedstat")]
    return sum(int(one[0]) for one in found) / 1e9, sum(int(one[1]) for one in found) / 1e9


class Load:
    """What many calls at once cost, and how long others wait: alone, and meanwhile."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.busy = 1.0
        """How many times longer work took for want of a processor; 1 on a machine that has little else to do."""
        self.alone: Waits = {}
        self.meanwhile: Waits = {}

    async def measure(self, folder: Path, many: Callable[[AsyncStore], list[Awaitable[object]]]) -> None:
        async with AsyncStore(folder, embedder=HashEmbedder()) as store:
            memory, done, calls = store.memory("rag", user="somebody else"), asyncio.Event(), many(store)
            done.set()
            await _waits_of_others(memory, done)  # what is made only once
            self.alone = await _waits_of_others(memory, done)
            done.clear()
            others = asyncio.create_task(_waits_of_others(memory, done))
            began, (ran, waited) = time.perf_counter(), _processor()
            await asyncio.gather(*calls)
            self.wall = time.perf_counter() - began
            done.set()
            self.meanwhile = await others
            ran, waited = _processor()[0] - ran, _processor()[1] - waited
            self.busy = 1.0 if waited <= 0.25 * ran else 1.0 + waited / ran

    def check(self, *, times: float) -> None:
        """Others wait no longer than the bar, or than so many times what they wait alone, where a disk is slow."""
        shown = {name: value if isinstance(value, float) else str(value) for name, value in vars(self).items()}
        print(shown)
        for name, seconds in self.meanwhile.items():
            assert seconds < max(self.busy * MOST_WAIT, times * self.alone[name]), (name, shown)


@pytest.mark.slow
@pytest.mark.timed
def test_hundreds_of_answers_take_hardly_longer_than_one_and_keep_nobody_else_waiting(
    model: OpenAICompatibleModel, tmp_path: Path
) -> None:
    asked, load = [user_message("hello")], Load()
    asyncio.run(load.measure(tmp_path, lambda _: [model.agenerate(asked) for _ in range(ANSWERS)]))
    load.check(times=2)
    assert load.wall < MOST_WALL * load.busy


@pytest.mark.slow
@pytest.mark.timed
def test_an_answer_costs_no_more_of_the_processor_among_hundreds_than_among_a_few(model: OpenAICompatibleModel) -> None:
    async def cost(answers: int) -> float:
        """Seconds of the event loop's thread for each answer, when so many are waited for at once."""
        began = time.thread_time()
        await asyncio.gather(*(model.agenerate([user_message("hello")]) for _ in range(answers)))
        return (time.thread_time() - began) / answers

    asyncio.run(cost(50))  # what is made only once
    few, many = asyncio.run(cost(50)), asyncio.run(cost(ANSWERS))
    assert many < 2 * few, (few, many)


@pytest.mark.slow
@pytest.mark.timed
def test_turns_of_hundreds_of_agents_keep_nobody_else_waiting(model: OpenAICompatibleModel, tmp_path: Path) -> None:
    def turns(store: AsyncStore) -> list[Awaitable[object]]:
        users = (store.memory("rag", user=f"user {number}") for number in range(TURNS))
        return [AsyncAgent(model=model, memory=memory).run("hello") for memory in users]

    load = Load()
    asyncio.run(load.measure(tmp_path, turns))
    load.check(times=3)


@pytest.fixture
def few_files() -> Iterator[None]:
    """As many files as a process may open by default on many systems."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.parametrize("model", [0.5], indirect=True)
@pytest.mark.usefixtures("few_files")
def test_thousands_of_answers_wait_at_once_where_fewer_files_may_be_open(model: OpenAICompatibleModel) -> None:
    async def ask() -> list[str]:
        return [one.text for one in await asyncio.gather(*(model.agenerate([user_message("hello")]) for _ in range(2_000)))]

    assert asyncio.run(ask()) == ["word " * slow_server.PIECES] * 2_000
