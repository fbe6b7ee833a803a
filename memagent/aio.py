"""`AsyncStore`, `AsyncMemory` and `AsyncAgent`: the same verbs for async code.

Thin shells, built with the same arguments: each verb runs the synchronous one on one bounded thread executor, so its
documentation and its errors are those of the synchronous class. Cancelling an awaiting task never interrupts a commit: a call
that has begun runs to its end, one that has not begun does not happen. Building one is synchronous: opening a store takes
milliseconds, loading a model that is given by name may take seconds (`await asyncio.to_thread(...)` where that matters).
A parity test compares names, parameters and results with the synchronous classes.

    async with AsyncStore("mem") as store:
        agent = AsyncAgent(model="embedded", memory=store.memory("rag", user="ada"))
        print((await agent.run("What is my dog called?")).text)
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from memagent.agent import Agent, Answer, AnswerStream
from memagent.memory.base import Memory
from memagent.messages import ImageLike, MessageLike
from memagent.models.base import ChatModel
from memagent.retrieval.embedders.base import Embedder
from memagent.store import Store
from memagent.types import Recall
from memagent_renderers.budget import Budget

__all__ = ["AsyncAgent", "AsyncAnswerStream", "AsyncMemory", "AsyncStore"]

THREADS = 8
"""Calls that run at the same time, over all async stores, memories and agents of a process."""

P = ParamSpec("P")
R = TypeVar("R")


@functools.lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="memagent")


async def _call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(_executor(), functools.partial(function, *args, **kwargs))


class _HasSync(Protocol):
    @property
    def sync(self) -> Any:
        """The synchronous object."""


def _async(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[_HasSync, P], Awaitable[R]]:
    """The async twin of a verb: same name, parameters and documentation."""

    @functools.wraps(method)
    async def twin(self: _HasSync, /, *args: P.args, **kwargs: P.kwargs) -> R:
        verb: Callable[..., R] = getattr(self.sync, method.__name__)  # the kind's own, where it overrides one
        return await _call(verb, *args, **kwargs)

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
    consolidate = _async(Memory.consolidate)
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
    """Pieces of an answer; `answer` is there when they end."""

    def __init__(self, stream: AnswerStream) -> None:
        self.sync = stream

    @property
    def answer(self) -> Answer | None:
        """The whole answer, once the last piece has come."""
        return self.sync.answer

    @property
    def recall(self) -> Recall | None:
        """The view that the model was given."""
        return self.sync.recall

    async def __anext__(self) -> str:
        piece = await _call(next, self.sync, None)
        if piece is None:
            raise StopAsyncIteration
        return piece

    interrupt = _async(AnswerStream.interrupt)


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

    run = _async(Agent.run)

    async def stream(self, text: MessageLike, *, images: Sequence[ImageLike] = ()) -> AsyncAnswerStream:
        """One turn, piece by piece, as `Agent.stream`."""
        return AsyncAnswerStream(await _call(self.sync.stream, text, images=images))

    close = _async(Agent.close)
