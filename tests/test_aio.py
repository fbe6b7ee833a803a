"""The async shells are built like the synchronous classes, offer the same verbs, and do the same."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from memagent import Agent, AsyncAgent, AsyncMemory, AsyncStore, InputError, Memory, Store
from memagent.models.fake import FakeModel
from memagent.retrieval.embedders.hash import HashEmbedder

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
