"""Assistants by name or by an agent configuration.

Every kind of memory is an method under its own name: `long_context`, `rag`, `notes`, `memocr`, plug-ins. The published ones are
`native`, `rag_window` (the type `rag` of a configuration: a window before retrieval), `awe`, `awi`, and the variants of `awi`
and `awe` that know a user's variables or evolve. Without a model `awe` and `awi` write by rules; with one, it writes too.
"""

from __future__ import annotations

from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.environments.amemgym.assistants.config import AgentConfig
from memagent.environments.amemgym.assistants.evolution import COMPLETE, EvolutionSettings
from memagent.environments.amemgym.assistants.evolving import EvolvingAwe, EvolvingAwi
from memagent.environments.amemgym.assistants.memory import MemoryAssistant
from memagent.environments.amemgym.assistants.memory_prompts import only_variables
from memagent.environments.amemgym.assistants.model_writers import FactsByModel, SheetByModel
from memagent.environments.amemgym.assistants.native import NativeAssistant
from memagent.environments.amemgym.assistants.nearness import Nearness
from memagent.environments.amemgym.assistants.window import Schedule
from memagent.environments.amemgym.assistants.windowed import AweAssistant, AwiAssistant, RagAssistant
from memagent.environments.amemgym.data import Item
from memagent.errors import ConfigError, unknown_name
from memagent.memory import memory_kinds
from memagent.models.base import ChatModel
from memagent.store import Store

PUBLISHED = ("native", "rag_window", "awe", "awi", "awi-hack", "awi-evolve", "rag-evolve")
EVOLVES = EvolutionSettings(cadence="period", feedback_types=COMPLETE)
"""How an assistant evolves that is asked for by name."""


def methods() -> list[str]:
    """Names that `build_assistant` knows."""
    return [*memory_kinds(), *PUBLISHED]


def build_assistant(
    what: str | AgentConfig, *, store: Store, item: Item, model: ChatModel | None = None, budget: int = BUDGET
) -> Assistant:
    """An assistant that has met nobody yet, for one user; `budget` bounds the views of memories.

    The model of a configuration is asked with its temperature and tokens; which model it names is the caller's matter
    (`AgentConfig.model`). Raises `UnknownName`, and `ConfigError` where a model is needed and there is none.
    """
    if isinstance(what, AgentConfig):
        settled = None if model is None else what.settled(model)
        return _configured(what, store, item, settled, budget)
    if what in memory_kinds():
        return MemoryAssistant(store.memory(what, user=f"{what} {item.id}"), model=model, budget=budget)
    if what not in PUBLISHED:
        raise unknown_name("assistant", what, methods())
    if what == "native":
        return NativeAssistant(model=model, budget=budget)
    return _windowed(what, what, store, item, model, budget, Schedule(), EVOLVES)


def _configured(config: AgentConfig, store: Store, item: Item, model: ChatModel | None, budget: int) -> Assistant:
    own = config.llm_config
    if config.type == "native":
        limit, messages = own.max_history_tokens, own.max_history_msgs
        return NativeAssistant(name=config.name, model=model, budget=budget, limit=limit, messages=messages)
    settings = config.evolution_config or EvolutionSettings()
    return _windowed(_kind(config), config.name, store, item, model, budget, config.schedule, settings)


def _kind(config: AgentConfig) -> str:
    """The method that a configuration describes."""
    if config.type == "rag":
        return "awe" if config.agent_config.enable_llm_mem_policy else "rag_window"
    return "rag-evolve" if config.type == "mem0-evolution" else config.type


def _windowed(
    kind: str,
    name: str,
    store: Store,
    item: Item,
    model: ChatModel | None,
    budget: int,
    schedule: Schedule,
    settings: EvolutionSettings,
) -> Assistant:
    if kind == "rag_window":
        return RagAssistant(name=name, embedder=store.backend.embedder(), schedule=schedule, model=model, budget=budget)
    if kind == "awe":
        nearness = Nearness(store.backend.embedder())
        facts = None if model is None else FactsByModel(model, nearness)
        return AweAssistant(name=name, nearness=nearness, writer=facts, schedule=schedule, model=model, budget=budget)
    if kind == "awi":
        lines = None if model is None else SheetByModel(model)
        return AwiAssistant(name=name, writer=lines, schedule=schedule, model=model, budget=budget)
    if model is None:
        raise ConfigError(f"the assistant {name} writes by a model; give it a model")
    if kind == "awi-hack":
        knowing = SheetByModel(model, policy=only_variables(list(item.state_schema)))
        return AwiAssistant(name=name, writer=knowing, schedule=schedule, model=model, budget=budget)
    if kind == "awi-evolve":
        return EvolvingAwi(model, settings, name=name, schedule=schedule, budget=budget)
    return EvolvingAwe(model, settings, embedder=store.backend.embedder(), name=name, schedule=schedule, budget=budget)
