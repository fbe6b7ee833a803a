"""Assistants by name or by an agent configuration.

Every kind of memory is an arm under its own name: `long_context`, `rag`, `notes`, `memocr`, plug-ins. The published ones are
`native`, `rag_window` (the type `rag` of a configuration: a window before retrieval), `awe`, `awi`. Without a voice `awe` and
`awi` write by rules, with one it writes too.
"""

from __future__ import annotations

from dataclasses import dataclass

from memagent.environments.amemgym.assistants.backend import MemoryAssistant
from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.environments.amemgym.assistants.config import AgentConfig
from memagent.environments.amemgym.assistants.native import NativeAssistant
from memagent.environments.amemgym.assistants.window import Schedule
from memagent.environments.amemgym.assistants.windowed import AweAssistant, AwiAssistant, RagAssistant
from memagent.environments.amemgym.data import Item
from memagent.memory import memory_kinds
from memagent.models.base import ChatModel
from memagent.names import unknown
from memagent.store.store import Store

PUBLISHED = ("native", "rag_window", "awe", "awi")


def arms() -> list[str]:
    """Names that `build_assistant` knows."""
    return [*memory_kinds(), *PUBLISHED]


def build_assistant(
    what: str | AgentConfig, *, store: Store, item: Item, voice: ChatModel | None = None, budget: int = BUDGET
) -> Assistant:
    """An assistant that has met nobody yet, for one user; `budget` bounds the views of memories.

    Raises `UnknownName`, and `ConfigError` where a voice is needed and there is none.
    """
    if isinstance(what, AgentConfig):
        settled = None if voice is None else what.settled(voice)
        return _Builder(store, item, settled, budget, config=what).published(_kind(what), what.name)
    if what in memory_kinds():
        return MemoryAssistant(store.memory(what, user=f"{what} {item.id}"), voice=voice, budget=budget)
    if what not in PUBLISHED:
        raise unknown("assistant", what, arms())
    return _Builder(store, item, voice, budget).published(what, what)


def _kind(config: AgentConfig) -> str:
    """The arm that a configuration describes."""
    if config.type == "rag":
        return "awe" if config.agent_config.enable_llm_mem_policy else "rag_window"
    return config.type


@dataclass(frozen=True)
class _Builder:
    """Makes the published assistants."""

    store: Store
    item: Item
    voice: ChatModel | None
    budget: int
    config: AgentConfig | None = None

    def published(self, kind: str, name: str) -> Assistant:
        """One of them."""
        schedule = Schedule() if self.config is None else self.config.schedule
        voice, budget = self.voice, self.budget
        if kind == "native":
            model = None if self.config is None else self.config.llm_config
            limit, messages = (None, None) if model is None else (model.max_history_tokens, model.max_history_msgs)
            return NativeAssistant(name=name, voice=voice, budget=budget, limit=limit, messages=messages)
        if kind == "rag_window":
            embedder = self.store.embedder()
            return RagAssistant(name=name, embedder=embedder, schedule=schedule, voice=voice, budget=budget)
        if kind == "awe":
            embedder = self.store.embedder()
            return AweAssistant(name=name, embedder=embedder, schedule=schedule, voice=voice, budget=budget)
        return AwiAssistant(name=name, schedule=schedule, voice=voice, budget=budget)
