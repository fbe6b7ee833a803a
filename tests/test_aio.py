"""The async shells are built like the synchronous classes, offer the same verbs, and do the same."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from memagent import Agent, AsyncAgent, AsyncMemory, AsyncStore, ConfigError, InputError, Memory, ModelError, Store
from memagent.models import threads
from memagent.models.fake import FakeModel
from memagent.models.ocr_reader import OcrReader
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.testing.fault_server import FaultServer
from memagent.types import user_message

PETS = ("dog", "cat", "parrot", "hamster", "tortoise")


def verbs(kind: type) -> dict[str, list[tuple[str, object, object]]]:
    return {
        name: [(one.name, one.kind, one.default) for one in inspect.signature(value).parameters.values()]
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    }


@pytest.mark.parametrize(("sync", "twin"), [(Store, AsyncStore), (Memory, AsyncMemory), (Agent, AsyncAgent)])
def test_names_parameters_and_documentation_agree(sync: type, twin: type) -> None:
    ours, theirs = verbs(sync), verbs(twin)
    if sync is Memory:  # `view` is for kinds of one's own; an AsyncMemory is made by its store, not by a constructor
        for name in ("view", "__init__"):
            ours.pop(name, None)
            theirs.pop(name, None)
    assert ours == theirs
    assert all(inspect.getdoc(getattr(twin, name)) for name in theirs if name != "__init__")


def test_verbs_do_the_same(tmp_path: Path) -> None:
    async def use() -> list[str]:
        async with AsyncStore(tmp_path, embedder=HashEmbedder()) as store:
            memory = store.memory("rag", user="ada")
            await asyncio.gather(*(memory.add(f"My {pet} is called {pet.title()}.") for pet in PETS))
            recall = await memory.recall("What is my parrot called?", budget=200)
            assert recall == memory.sync.recall("What is my parrot called?", budget=200)
            async with AsyncAgent(model="fake", memory=memory) as agent:
                stream = await agent.stream("What is my parrot called?")
                pieces = [piece async for piece in stream]
                assert stream.answer is not None
                assert stream.answer.text == "".join(pieces)
                answer = await agent.run("What is my hamster called?")
            assert "Hamster" in answer.text
            assert await store.users() == ["ada"]
            assert [one.name for one in await store.sessions("ada")] == ["default"]
            with pytest.raises(InputError, match="limit"):
                await memory.items(limit=-1)
            return [item.text for item in await memory.items()]

    assert len(asyncio.run(use())) == 9


def test_a_stream_can_be_interrupted(tmp_path: Path) -> None:
    async def use() -> str:
        async with AsyncStore(tmp_path, embedder=None) as store:
            agent = AsyncAgent(model=FakeModel("one two three four"), memory=store.memory("rag"))
            stream = await agent.stream("count")
            await anext(stream)
            answer = await stream.interrupt()
            assert answer is not None
            return answer.stop_reason

    assert asyncio.run(use()) == "interrupted"


async def end_by_timeout(agent: AsyncAgent) -> None:
    stream = await agent.stream("count")
    await anext(stream)
    async with asyncio.timeout(0.1):
        async for _ in stream:
            pass


async def end_by_cancelling(agent: AsyncAgent) -> None:
    begun = asyncio.Event()

    async def turn() -> None:
        async for _ in await agent.stream("count"):
            begun.set()

    task = asyncio.create_task(turn())
    await begun.wait()
    task.cancel()
    await task


async def end_by_closing(agent: AsyncAgent) -> None:
    stream = await agent.stream("count")
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    assert stream.answer is not None
    assert [piece async for piece in stream] == []
    raise asyncio.CancelledError


@pytest.mark.parametrize("end", [end_by_timeout, end_by_cancelling, end_by_closing])
@pytest.mark.parametrize("served", [True, False])
def test_a_turn_that_is_ended_stops_the_model_and_stores_a_partial(
    tmp_path: Path, end: Callable[[AsyncAgent], Awaitable[None]], served: bool
) -> None:
    async def use(server: FaultServer) -> None:
        slow = FakeModel("one two " * 90, chunk_delay=0.05)
        model = OpenAICompatibleModel("m", base_url=server.url("silent_stream")) if served else slow
        async with AsyncStore(tmp_path, embedder=None) as store:
            with pytest.raises((TimeoutError, asyncio.CancelledError)):
                await end(AsyncAgent(model=model, memory=store.memory("rag")))
            said, partial = await store.memory("rag").items()
            assert (said.origin, partial.origin) == ("said", "partial")
            assert partial.text.startswith("You live" if served else "one")
            before = len(server.asked)
            await asyncio.sleep(0.3)
            assert len(await store.memory("rag").items()) == 2
            assert len(server.asked) == before
            if served:
                assert not server.busy

    with FaultServer() as server:
        asyncio.run(use(server))


def test_nothing_but_the_message_is_stored_of_a_turn_that_ends_before_its_first_word(tmp_path: Path) -> None:
    async def use(server: FaultServer) -> None:
        model = OpenAICompatibleModel("m", base_url=server.url("silence"))
        async with AsyncStore(tmp_path, embedder=None) as store:
            agent = AsyncAgent(model=model, memory=store.memory("rag"))
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await agent.run("hello")
            assert [item.text for item in await store.memory("rag").items()] == ["hello"]

    with FaultServer() as server:
        asyncio.run(use(server))


def test_answers_and_thoughts_are_those_of_the_synchronous_calls() -> None:
    for model in (FakeModel("<think>a</think>b"), OcrReader(FakeModel("plain"))):
        assert asyncio.run(model.agenerate([user_message("x")])).text == model.generate([user_message("x")]).text
        assert asyncio.run(model.agenerate([user_message("x")])).reasoning == model.generate([user_message("x")]).reasoning


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    model = FakeModel("fine")
    asyncio.run(model.agenerate([user_message("x")]))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(asyncio.run(asyncio.wait_for(model.agenerate([user_message("x")]), 10)).text != "fine")
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_cancelling_loses_no_commit(tmp_path: Path) -> None:
    async def cancel() -> int:
        async with AsyncStore(tmp_path, embedder=HashEmbedder()) as store:
            memory = store.memory("rag", user="ada")
            tasks = [asyncio.create_task(memory.add(f"fact {number}")) for number in range(40)]
            await asyncio.sleep(0.005)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            return sum(not isinstance(one, BaseException) for one in done)

    finished = asyncio.run(cancel())
    assert finished >= 20
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        assert len(store.memory("rag", user="ada").messages()) >= finished


def test_an_answer_that_breaks_off_is_an_error_and_kept_as_partial(tmp_path: Path) -> None:
    async def use(server: FaultServer) -> None:
        async with AsyncStore(tmp_path, embedder=None) as store:
            agent = AsyncAgent(
                model=OpenAICompatibleModel("m", base_url=server.url("cut_in_chunks")), memory=store.memory("rag")
            )
            with pytest.raises(ModelError, match="broke off") as caught:
                await agent.run("Where do I live?")
            assert [item.origin for item in await store.memory("rag").items()] == ["said", "partial"]
            assert (await store.memory("rag").items())[1].text == caught.value.partial

    with FaultServer() as server:
        asyncio.run(use(server))


def test_a_memory_that_asks_a_model_does_not_keep_the_database_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAGENT_THREADS", "1")
    threads._pool.cache_clear()

    async def use() -> float:
        async with AsyncStore(tmp_path, embedder=None) as store:
            slow = store.memory("notes", user="slow", model=FakeModel("x " * 150, chunk_delay=0.01))
            await slow.add("My dog is called Biscuit.")
            writing = asyncio.create_task(slow.consolidate())
            await asyncio.sleep(0.1)
            began = time.perf_counter()
            await store.memory("rag", user="quick").recall("dog", budget=50)
            took = time.perf_counter() - began
            assert not writing.done()
            await asyncio.gather(writing, return_exceptions=True)
            return took

    assert asyncio.run(use()) < 3
    threads._pool.cache_clear()


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5", " "])
def test_a_number_of_threads_that_cannot_be_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAGENT_THREADS", given)
    with pytest.raises(ConfigError, match="MEMAGENT_THREADS"):
        threads.thread_count()
