"""`AsyncStore`, `AsyncMemory` and `AsyncAgent`: the same verbs for async code.

Thin shells, built with the same arguments. What reads and writes the database runs the synchronous verb on a bounded pool of
threads (`memagent.models.threads`), so its documentation and its errors are those of the synchronous class, and cancelling an
awaiting task never interrupts a commit. The answers of models behind a network use no thread: thousands may be under way.
Cancelling a turn, or a timeout around it, stops the model; what it had said is stored as a partial answer.

Building one is synchronous: opening a store takes milliseconds, loading a model that is given by name may take seconds
(`await asyncio.to_thread(...)` where that matters). A parity test compares names, parameters and results with the synchronous
classes.

    async with AsyncStore("mem") as store:
        agent = AsyncAgent(model="embedded", memory=store.memory("rag", user="ada"))
        print((await agent.run("What is my dog called?")).text)
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from memagent.agent import Agent, AgentTurn, Answer
from memagent.memory.base import Memory
from memagent.messages import ImageLike, MessageLike
from memagent.models.base import ChatModel, Reply
from memagent.models.threads import on_thread
from memagent.retrieval.embedders.base import Embedder
from memagent.store import Store
from memagent_renderers.budget import Budget

__all__ = ["AsyncAgent", "AsyncAnswerStream", "AsyncMemory", "AsyncStore"]

P = ParamSpec("P")
R = TypeVar("R")


class _HasSync(Protocol):
    @property
    def sync(self) -> Any:
        """The synchronous object."""


def _pool_of(memory: Memory) -> str:
    """Where a memory consolidates: with a model that takes seconds, apart from the database's verbs."""
    return "store" if memory.model is None else "model"


def _async(
    method: Callable[Concatenate[Any, P], R], *, pool: Callable[[Any], str] = lambda _: "store"
) -> Callable[Concatenate[_HasSync, P], Awaitable[R]]:
    """The async twin of a verb: same name, parameters and documentation."""

    @functools.wraps(method)
    async def twin(self: _HasSync, /, *args: P.args, **kwargs: P.kwargs) -> R:
        verb: Callable[..., R] = getattr(self.sync, method.__name__)  # the kind's own, where it overrides one
        return await on_thread(pool(self.sync), verb, *args, **kwargs)

    return twin


class _Closing:
    """`async with` for what has an async `close`."""

    close: Callable[..., Awaitable[None]]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncMemory(_Closing):
    """A memory for async code, made by `AsyncStore.memory`; `sync` is the synchronous one."""

    def __init__(self, memory: Memory) -> None:
        self.sync = memory

    add = _async(Memory.add)
    remember = _async(Memory.remember)
    update = _async(Memory.update)
    delete = _async(Memory.delete)
    undo = _async(Memory.undo)
    purge = _async(Memory.purge)
    recall = _async(Memory.recall)
    items = _async(Memory.items)
    messages = _async(Memory.messages)
    get = _async(Memory.get)
    search = _async(Memory.search)
    history = _async(Memory.history)
    audit = _async(Memory.audit)
    stats = _async(Memory.stats)
    consolidate = _async(Memory.consolidate, pool=_pool_of)
    pending_count = _async(Memory.pending_count)
    export_file = _async(Memory.export_file)
    import_file = _async(Memory.import_file)
    snapshot = _async(Memory.snapshot)
    restore = _async(Memory.restore)
    close = _async(Memory.close)


class AsyncStore(_Closing):
    """A store for async code, opened as `Store` is; `sync` is the synchronous one."""

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        embedder: Embedder | str | None = "auto",
        timeout: float = 30.0,
        read_only: bool = False,
    ) -> None:
        self.sync = Store(path, embedder=embedder, timeout=timeout, read_only=read_only)

    def memory(
        self,
        kind: str | type[Memory],
        *,
        user: str = "default",
        session: str = "default",
        model: ChatModel | str | None = None,
        **options: Any,
    ) -> AsyncMemory:
        """A user's memory, as `Store.memory` makes it."""
        return AsyncMemory(self.sync.memory(kind, user=user, session=session, model=model, **options))

    users = _async(Store.users)
    sessions = _async(Store.sessions)
    delete_session = _async(Store.delete_session)
    reindex = _async(Store.reindex)
    close = _async(Store.close)


class AsyncAnswerStream(AsyncIterator[str]):
    """Pieces of an answer as they come; `answer` is there when they end, also after `interrupt` and `aclose`."""

    def __init__(self, agent: Agent, turn: AgentTurn) -> None:
        self._agent, self._turn = agent, turn
        self._reply = turn.answerer.astream(turn.prompt.messages, **agent._options(turn))
        self._ended = False
        self.answer: Answer | None = None
        """The whole answer, once the last piece has come."""
        self.recall = turn.recall
        """The view that the model was given."""

    async def __anext__(self) -> str:
        if self._ended:
            raise StopAsyncIteration
        try:
            piece = await anext(self._reply)
        except StopAsyncIteration:
            await self._end(self._reply.reply)
            raise
        except asyncio.CancelledError:
            await self.aclose()
            raise
        except Exception:
            self._ended = True
            await self._whole(on_thread("turn", self._agent._keep, self._turn, None))
            raise
        self._turn.hear(piece)
        return piece

    async def _end(self, whole: Reply | None) -> None:
        if not self._ended:
            self._ended = True
            self.answer = await self._whole(on_thread("turn", self._agent._end, self._turn, whole))

    async def _whole(self, storing: Coroutine[Any, Any, R]) -> R:
        """The result of storing, which a task that is cancelled does to its end all the same."""
        return await asyncio.shield(asyncio.ensure_future(storing))

    async def interrupt(self) -> Answer | None:
        """Stop here, and the model too. What was said so far is stored, marked as partial."""
        await self.aclose()
        return self.answer

    async def aclose(self) -> None:
        """As `interrupt`. Safe to call twice, and after the end, where it does nothing."""
        await self._reply.aclose()
        await self._end(None)


class AsyncAgent(_Closing):
    """An agent for async code, made as `Agent` is, over an `AsyncMemory` or a `Memory`; `sync` is the synchronous one."""

    def __init__(
        self,
        *,
        model: ChatModel | str = "embedded",
        memory: AsyncMemory | Memory | None = None,
        budget: int | Budget | None = None,
        system: str | None = None,
        recent_messages: int = 6,
        max_tokens: int = 512,
        temperature: float = 0.0,
        read_only: bool = False,
        auto_consolidate: bool = True,
    ) -> None:
        self.sync = Agent(
            model=model,
            memory=memory.sync if isinstance(memory, AsyncMemory) else memory,
            budget=budget,
            system=system,
            recent_messages=recent_messages,
            max_tokens=max_tokens,
            temperature=temperature,
            read_only=read_only,
            auto_consolidate=auto_consolidate,
        )

    async def run(self, text: MessageLike, *, images: Sequence[ImageLike] = ()) -> Answer:
        """One turn, as `Agent.run`."""
        async with aclosing(await self.stream(text, images=images)) as stream:
            async for _ in stream:
                pass
        assert stream.answer is not None
        memory = self.sync.memory
        if self.sync.auto_consolidate and memory is not None and not self.sync.read_only:
            await on_thread("turn" if memory.model is None else "model", memory.consolidate)
        return stream.answer

    async def stream(self, text: MessageLike, *, images: Sequence[ImageLike] = ()) -> AsyncAnswerStream:
        """One turn, piece by piece, as `Agent.stream`."""
        return AsyncAnswerStream(self.sync, await on_thread("turn", self.sync._begin, text, images))

    close = _async(Agent.close)
