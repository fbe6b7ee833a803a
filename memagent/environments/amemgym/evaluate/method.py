"""Which assistants a run has: by name, or by an official agent configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memagent.environments.amemgym.assistants import AgentConfig, Schedule, load_agent_config, methods
from memagent.environments.amemgym.evaluate.estimate import Plan
from memagent.errors import InputError, UnknownName

WRITES = {"rag_window": 0, "awe": 2, "awi": 1, "awi-hack": 1, "awi-evolve": 1, "rag-evolve": 2, "mem0-evolution": 2}
"""Calls, at most, by which a published assistant writes once."""
EVOLVING = ("awi-evolve", "rag-evolve", "mem0-evolution")


@dataclass(frozen=True)
class Method:
    """An assistant to run: by its name, or by a configuration."""

    name: str
    what: str | AgentConfig

    def public(self, model: str, budget: int) -> dict[str, Any]:
        """The configuration as it is written: without keys, with the model that speaks."""
        own: dict[str, Any] = {"type": self.what, "name": self.name, "llm_config": {"temperature": 0.0}}
        if isinstance(self.what, AgentConfig):
            own = self.what.public()
        return {**own, "llm_config": {**own["llm_config"], "llm_model": model}, "budget": budget}

    def plan(self, budget: int) -> Plan:
        """What its model is shown."""
        kind = self.what if isinstance(self.what, str) else self.what.type
        if kind == "native":
            return Plan()
        if isinstance(self.what, str):
            evolves = kind.endswith("-evolve")
            return Plan(schedule=Schedule(), writes=WRITES[kind], learns=evolves) if kind in WRITES else Plan(budget)
        by_model = kind != "rag" or self.what.agent_config.enable_llm_mem_policy
        evolution = self.what.evolution_config
        learns = kind in EVOLVING and evolution is not None and evolution.learns
        return Plan(schedule=self.what.schedule, writes=WRITES.get(kind, 2) if by_model else 0, learns=learns)


def read_arms(given: Sequence[str], *, beside: str) -> list[Method]:
    """Methods of names and of files `*.json`. `beside` is the folder of the upper bound, next to which theirs will be.

    Raises `UnknownName`, `ConfigError` naming a file, and `InputError` for names that cannot be folders.
    """
    found: list[Method] = []
    for one in given:
        if one.endswith(".json"):
            config = load_agent_config(one)
            found.append(Method(config.name, config))
        elif one in methods():
            found.append(Method(one, one))
        else:
            raise UnknownName(f"there is no method {one!r}; there are {', '.join(methods())}, or name a file agent.json")
    names = [method.name for method in found]
    for name in names:
        if names.count(name) > 1 or name == beside or name.startswith("."):
            raise InputError(f"the method {name!r} needs a folder of its own beside that of the model, {beside!r}; rename it")
    return found
