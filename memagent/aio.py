"""`AsyncMemory` and `AsyncAgent`: the same verbs for async code.

Thin shells: each call runs the synchronous verb on one bounded thread executor. Cancelling an awaiting task never interrupts
a commit: a call that has begun runs to its end, one that has not begun does not happen. A parity test compares the names,
parameters and results with the synchronous classes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from memagent.agent import Agent, Answer, AnswerStream
from memagent.db.log import Origin
from memagent.memory.base import Memory, Observed, Progress
from memagent.types import (
    AuditFinding,
    ConsolidationResult,
    HistoryEntry,
    ImagePart,
    Item,
    Message,
    Recall,
    Receipt,
    SearchResult,
    Stats,
)
from memagent_renderers.budget import Budget

__all__ = ["AsyncAgent", "AsyncAnswerStream", "AsyncMemory"]

THREADS = 8
"""Calls that run at the same time, over all async memories and agents of a process."""

P = ParamSpec("P")
R = TypeVar("R")


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="memagent")


async def _call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(_executor(), partial(function, *args, **kwargs))


class AsyncMemory:
    """A memory for async code; `memory` is the synchronous one, whose documentation holds here."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    async def add(self, messages: Observed, *, session: str | None = None, origin: Origin = "said") -> Receipt:
        """See `Memory.add`."""
        return await _call(self.memory.add, messages, session=session, origin=origin)

    async def remember(self, text: str, *, session: str | None = None) -> Receipt:
        """See `Memory.remember`."""
        return await _call(self.memory.remember, text, session=session)

    async def update(self, id: str, text: str) -> Receipt:
        """See `Memory.update`."""
        return await _call(self.memory.update, id, text)

    async def delete(self, id: str) -> Receipt:
        """See `Memory.delete`."""
        return await _call(self.memory.delete, id)

    async def undo(self) -> Receipt:
        """See `Memory.undo`."""
        return await _call(self.memory.undo)

    async def purge(self, id: str | None = None, *, everything: bool = False) -> Receipt:
        """See `Memory.purge`."""
        return await _call(self.memory.purge, id, everything=everything)

    async def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """See `Memory.recall`."""
        return await _call(self.memory.recall, query, budget=budget, session=session, exclude=exclude)

    async def items(self, *, session: str | None = None, limit: int | None = None, newest_first: bool = False) -> list[Item]:
        """See `Memory.items`."""
        return await _call(self.memory.items, session=session, limit=limit, newest_first=newest_first)

    async def messages(self, *, session: str | None = None, limit: int | None = None) -> list[Message]:
        """See `Memory.messages`."""
        return await _call(self.memory.messages, session=session, limit=limit)

    async def get(self, id: str) -> Item:
        """See `Memory.get`."""
        return await _call(self.memory.get, id)

    async def search(self, query: str, *, limit: int = 10, session: str | None = None) -> list[SearchResult]:
        """See `Memory.search`."""
        return await _call(self.memory.search, query, limit=limit, session=session)

    async def history(self, id: str | None = None) -> list[HistoryEntry]:
        """See `Memory.history`."""
        return await _call(self.memory.history, id)

    async def audit(self) -> list[AuditFinding]:
        """See `Memory.audit`."""
        return await _call(self.memory.audit)

    async def stats(self) -> Stats:
        """See `Memory.stats`."""
        return await _call(self.memory.stats)

    async def consolidate(
        self, *, question: str | None = None, timeout: float = 60.0, progress: Progress | None = None
    ) -> ConsolidationResult:
        """See `Memory.consolidate`."""
        return await _call(self.memory.consolidate, question=question, timeout=timeout, progress=progress)

    async def pending_count(self) -> int:
        """See `Memory.pending_count`."""
        return await _call(self.memory.pending_count)

    async def export_file(self, path: str | Path) -> int:
        """See `Memory.export_file`."""
        return await _call(self.memory.export_file, path)

    async def import_file(self, path: str | Path, *, progress: Progress | None = None) -> Receipt:
        """See `Memory.import_file`."""
        return await _call(self.memory.import_file, path, progress=progress)

    async def snapshot(self, path: str | Path) -> Path:
        """See `Memory.snapshot`."""
        return await _call(self.memory.snapshot, path)

    async def restore(self, path: str | Path) -> None:
        """See `Memory.restore`."""
        await _call(self.memory.restore, path)

    async def close(self) -> None:
        """See `Memory.close`."""
        await _call(self.memory.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncAnswerStream(AsyncIterator[str]):
    """Pieces of an answer; `answer` is there when they end."""

    def __init__(self, stream: AnswerStream) -> None:
        self.stream = stream

    @property
    def answer(self) -> Answer | None:
        """The whole answer, once the last piece has come."""
        return self.stream.answer

    @property
    def recall(self) -> Recall | None:
        """The view that the model was given."""
        return self.stream.recall

    async def __anext__(self) -> str:
        piece = await _call(next, self.stream, None)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def interrupt(self) -> Answer | None:
        """See `AnswerStream.interrupt`."""
        return await _call(self.stream.interrupt)


class AsyncAgent:
    """An agent for async code; `agent` is the synchronous one, whose documentation holds here."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def run(self, text: str, *, images: tuple[ImagePart, ...] = ()) -> Answer:
        """See `Agent.run`."""
        return await _call(self.agent.run, text, images=images)

    async def stream(self, text: str, *, images: tuple[ImagePart, ...] = ()) -> AsyncAnswerStream:
        """See `Agent.stream`."""
        return AsyncAnswerStream(await _call(self.agent.stream, text, images=images))

    async def close(self) -> None:
        """See `Agent.close`."""
        await _call(self.agent.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
