"""The async shells offer what the synchronous classes do, and do the same."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from memagent import Agent, AsyncAgent, AsyncMemory, Memory, Store
from memagent.models.fake import FakeModel
from memagent.retrieval.embedders.hash import HashEmbedder

PETS = ("dog", "cat", "parrot", "hamster", "tortoise")


def public(kind: type) -> dict[str, list[tuple[str, object, object]]]:
    return {
        name: [(one.name, one.kind, one.default) for one in inspect.signature(value).parameters.values()]
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(("sync", "twin"), [(Memory, AsyncMemory), (Agent, AsyncAgent)])
def test_names_and_parameters_agree(sync: type, twin: type) -> None:
    ours = public(sync)
    for name in (
        "view",
        "forget_turns",
        "take_back",
        "use_budget",
        "use_model",
    ):  # for kinds of one's own, and of the chat's loop
        ours.pop(name, None)
    assert ours == public(twin)


def test_verbs_do_the_same(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:

        async def use() -> list[str]:
            memory = AsyncMemory(store.memory("rag", user="ada"))
            await asyncio.gather(*(memory.add(f"My {pet} is called {pet.title()}.") for pet in PETS))
            recall = await memory.recall("What is my parrot called?", budget=200)
            assert recall == store.memory("rag", user="ada").recall("What is my parrot called?", budget=200)
            async with AsyncAgent(Agent(model=FakeModel(), memory=memory.memory)) as agent:
                stream = await agent.stream("What is my parrot called?")
                pieces = [piece async for piece in stream]
                assert stream.answer is not None
                assert stream.answer.text == "".join(pieces)
                answer = await agent.run("What is my hamster called?")
            assert "Hamster" in answer.text
            return [item.text for item in await memory.items()]

        assert len(asyncio.run(use())) == 9


def test_cancelling_loses_no_commit(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")

        async def cancel() -> int:
            tasks = [asyncio.create_task(AsyncMemory(memory).add(f"fact {number}")) for number in range(40)]
            await asyncio.sleep(0.005)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            return sum(not isinstance(one, BaseException) for one in done)

        finished = asyncio.run(cancel())
        assert finished >= 20
        assert len(memory.messages()) >= finished
