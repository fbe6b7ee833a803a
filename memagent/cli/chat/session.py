"""An open chat: the agent, the store, and what the flags asked for."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memagent.cli.common import load, print_status
from memagent.errors import NotFound

if TYPE_CHECKING:
    from memagent.agent import Agent, AnswerStream
    from memagent.config import Settings
    from memagent.models.base import ChatModel
    from memagent.store import Store


@dataclass(frozen=True)
class ChatOptions:
    """What the flags of one chat ask for beyond the settings."""

    session: str | None = None
    resume: bool = False
    read_only: bool = False
    no_memory: bool = False


@dataclass
class ChatSession:
    """What a chat needs: an agent over a store, and how to print."""

    agent: Agent
    store: Store | None
    """None when the chat has no memory."""
    settings: Settings
    stream: bool
    _turns_before: int = 0
    """Messages of `agent.turns` before the last turn."""

    @property
    def user(self) -> str:
        """Name of the user."""
        return self.settings.user

    @property
    def session(self) -> str | None:
        """Name of the session in which this chat is stored; None when it is not."""
        memory = self.agent.memory
        return None if memory is None or self.agent.read_only else memory.session

    def start_turn(self, question: str) -> AnswerStream:
        """Store the message and recall."""
        try:
            return self.agent.stream(question)
        finally:  # a retry takes the place of a turn that was never answered
            self._turns_before = len(self.agent.turns)

    def undo_turn(self) -> None:
        """Delete the last turn, question and answer, to ask again; the memory's `undo` brings them back one by one."""
        agent = self.agent
        if agent.memory is not None and not agent.read_only:
            for id in reversed(agent.last_ids):
                with suppress(NotFound):  # purged meanwhile
                    agent.memory.delete(id)
        agent.last_ids = ()
        del agent.turns[self._turns_before :]

    def new_session(self, name: str) -> None:
        """Go on in another session, or without a memory start over."""
        before = self.agent.memory
        if before is None or self.store is None:
            self.agent.memory = None
        else:
            self.agent.memory = self.store.memory(before.kind, user=before.user, session=name, model=before.model)

    def set_model(self, model: ChatModel) -> None:
        """Go on with another model, also for the memory if the one so far wrote it; that one is closed."""
        before, memory = self.agent.model, self.agent.memory
        self.agent.model = model
        if memory is not None and memory.model is before:
            memory.model = model
        before.close()


@contextmanager
def open_chat(chosen: Settings, options: ChatOptions, *, stream: bool) -> Iterator[ChatSession]:
    """Everything a chat needs, closed in the end. What can be checked is checked before the model is loaded."""
    from memagent.agent import Agent
    from memagent.errors import InputError
    from memagent_renderers.budget import Budget

    if options.resume and options.session is not None:
        raise InputError("-c continues the last session, --session names one; give one of the two")
    if chosen.budget is not None:
        Budget(chosen.budget)
    with _store(chosen, options) as store, ExitStack() as loaded:
        session = _session_name(store, chosen.user, options)
        memory = None if store is None else store.memory(chosen.memory, user=chosen.user, session=session)
        model = load(chosen.model, chosen)
        loaded.callback(model.close)
        if store is not None and chosen.memory_model is not None:
            writer = model
            if chosen.memory_model != "same":
                writer = load(chosen.memory_model, chosen)
                loaded.callback(writer.close)
            memory = store.memory(chosen.memory, user=chosen.user, session=session, model=writer)
        agent = Agent(
            model=model,
            memory=memory,
            budget=chosen.budget,
            system=chosen.system,
            read_only=options.read_only,
            auto_consolidate=False,
        )
        try:
            yield ChatSession(agent, store, chosen, stream)
        finally:
            agent.model.close()  # maybe one that /model brought


@contextmanager
def _store(chosen: Settings, options: ChatOptions) -> Iterator[Store | None]:
    """The store; None without memory, and for a read-only chat where there is no store yet."""
    from memagent.db.paths import default_folder
    from memagent.memory import load_memory
    from memagent.store import Store

    load_memory(chosen.memory)
    folder = chosen.store or default_folder()
    if options.no_memory:
        yield None
    elif options.read_only and not (folder / "memory.db").exists():
        print_status(f"nothing is remembered yet: there is no store in {folder}")
        yield None
    else:
        with Store(folder, embedder=chosen.embedder or "auto", read_only=options.read_only) as store:
            yield store


def _session_name(store: Store | None, user: str, options: ChatOptions) -> str:
    known = store.sessions(user) if store is not None and options.resume else []
    if options.resume and not known:
        print_status("there is no session to continue; this one is new")
    return known[0].name if known else options.session or new_session()


def new_session() -> str:
    """A name for a session that begins now, such as 2026-11-22-2a3f."""
    from memagent.types import now

    return f"{now():%Y-%m-%d}-{secrets.token_hex(2)}"
