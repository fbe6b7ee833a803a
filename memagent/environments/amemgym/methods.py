"""The methods of a run: which assistant, by name or by an official agent configuration.

Every kind of memory is a method under its own name, made by `store.memory(kind)`: `long_context`, `rag`, `notes`, `memocr`,
plug-ins. The published ones are `native`, `rag_window` (the type `rag` of a configuration: a window before retrieval), `awe`,
`awi`, and their variants that know a user's variables or evolve. Without a model `awe` and `awi` write by rules; with one, it
writes too. `oracle`, `stale`, `random` and `keyword` are `baselines`, for views that are read by rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.environments.amemgym.assistants.config import AgentConfig, load_agent_config
from memagent.environments.amemgym.assistants.evolution import COMPLETE, Evolution, EvolutionSettings
from memagent.environments.amemgym.assistants.memory import MemoryAssistant
from memagent.environments.amemgym.assistants.native import NativeAssistant
from memagent.environments.amemgym.assistants.prompts import only_variables
from memagent.environments.amemgym.assistants.published import AweAssistant, AwiAssistant, RagWindowAssistant
from memagent.environments.amemgym.assistants.windowed import Schedule, WindowedAssistant
from memagent.environments.amemgym.baselines import SHOWN, BaselineAssistant, KeywordAssistant
from memagent.environments.amemgym.data import UserItem
from memagent.errors import ConfigError, InputError, unknown_name
from memagent.memory import memory_kinds
from memagent.models.base import ChatModel
from memagent.store import Store

WINDOWED: dict[str, type[WindowedAssistant]] = {
    "rag_window": RagWindowAssistant,
    "awe": AweAssistant,
    "awi": AwiAssistant,
    "awi-hack": AwiAssistant,
    "awi-evolve": AwiAssistant,
    "rag-evolve": AweAssistant,
}
PUBLISHED = ("native", *WINDOWED)
BASELINES = (*SHOWN, "keyword")
WRITE_CALLS = {"rag_window": 0, "awe": 2, "awi": 1, "awi-hack": 1, "awi-evolve": 1, "rag-evolve": 2}
"""Calls, at most, by which a model writes once."""
EVOLVES = EvolutionSettings(cadence="period", feedback_types=COMPLETE)
"""How an assistant evolves that is asked for by name."""


def known_methods() -> list[str]:
    return [*memory_kinds(), *PUBLISHED, *BASELINES]


@dataclass(frozen=True)
class Method:
    """A method of a run."""

    name: str
    config: AgentConfig | None = None
    """None: what the name says, with the published settings."""

    @property
    def kind(self) -> str:
        """One of `known_methods`."""
        if self.config is None:
            return self.name
        if self.config.type == "rag":
            return "awe" if self.config.agent_config.enable_llm_mem_policy else "rag_window"
        return "rag-evolve" if self.config.type == "mem0-evolution" else self.config.type

    @property
    def schedule(self) -> Schedule:
        return Schedule() if self.config is None else self.config.schedule

    @property
    def evolution(self) -> EvolutionSettings:
        return EVOLVES if self.config is None else self.config.evolution_config or EvolutionSettings()

    def public(self, model: str | None, budget: int) -> dict[str, Any]:
        """The configuration as it is written: without keys, with the model that answers."""
        own: dict[str, Any] = {"type": self.name, "name": self.name, "llm_config": {"temperature": 0.0}}
        if self.config is not None:
            own = self.config.public()
        return {**own, "llm_config": {**own["llm_config"], "llm_model": model}, "budget": budget}

    def build(self, *, store: Store, item: UserItem, model: ChatModel | None = None, budget: int = BUDGET) -> Assistant:
        """An assistant that has met nobody yet, for one user; `budget` bounds the views of memories.

        The model of a configuration is asked with its temperature and tokens; which model it names is the caller's matter
        (`AgentConfig.load_model`). Raises `UnknownName`, and `ConfigError` where a model is needed and there is none.
        """
        kind, name = self.kind, self.name
        if kind in memory_kinds():
            return MemoryAssistant(store.memory(kind, user=f"{kind} {item.id}"), model=model, budget=budget)
        if kind in BASELINES:
            return KeywordAssistant(item, budget=budget) if kind == "keyword" else BaselineAssistant(kind, item)
        if kind not in PUBLISHED:
            raise unknown_name("method", kind, known_methods())
        if model is not None and self.config is not None:
            model = self.config.configured(model)
        if kind == "native":
            own = None if self.config is None else self.config.llm_config
            limit, messages = (None, None) if own is None else (own.max_history_tokens, own.max_history_msgs)
            return NativeAssistant(name=name, model=model, budget=budget, limit=limit, messages=messages)
        assistant = WINDOWED[kind]
        if kind == "rag_window":
            return RagWindowAssistant(
                name, schedule=self.schedule, model=model, budget=budget, embedder=store.backend.embedder()
            )
        if model is None and kind not in ("awe", "awi"):
            raise ConfigError(f"the method {name} writes by a model; give it one")
        evolves = model is not None and kind.endswith("-evolve")
        return assistant(
            name,
            schedule=self.schedule,
            model=model,
            budget=budget,
            embedder=store.backend.embedder() if assistant is AweAssistant else None,
            keep=only_variables(list(item.state_schema)) if kind == "awi-hack" else None,
            evolution=Evolution(self.evolution, model, assistant.template) if evolves and model is not None else None,
        )


def read_methods(given: Sequence[str], *, reserved: str | None = None) -> list[Method]:
    """Methods of names and of files `*.json`. `reserved` is a folder next to which theirs will be.

    Raises `UnknownName`, `ConfigError` naming a file, and `InputError` for names that cannot be folders.
    """
    found: list[Method] = []
    for one in given:
        if one.endswith(".json"):
            config = load_agent_config(one)
            found.append(Method(config.name, config))
        elif one in known_methods():
            found.append(Method(one))
        else:
            raise unknown_name("method", one, [*known_methods(), "a file agent.json"])
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1 or name == reserved or name.startswith("."):
            raise InputError(f"the method {name!r} needs a folder of its own beside that of the model, {reserved!r}; rename it")
    return found
