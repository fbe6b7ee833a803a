"""Which assistants a run has: by name, or by an official agent configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memagent.environments.amemgym.assistants import AgentConfig, Schedule, arms, load_agent_config
from memagent.environments.amemgym.evaluate.estimate import Plan
from memagent.errors import InputError, UnknownName

WRITES = {"rag_window": 0, "awe": 2, "awi": 1}
"""Calls by which a published assistant writes once."""


@dataclass(frozen=True)
class Arm:
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
        """What its voice is shown."""
        if isinstance(self.what, str):
            if self.what == "native":
                return Plan()
            known = self.what in WRITES
            return Plan(schedule=Schedule(), writes=WRITES[self.what]) if known else Plan(budget)
        if self.what.type == "native":
            return Plan()
        by_model = self.what.type != "rag" or self.what.agent_config.enable_llm_mem_policy
        return Plan(schedule=self.what.schedule, writes=(1 if self.what.type.startswith("awi") else 2) if by_model else 0)


def read_arms(given: Sequence[str], *, beside: str) -> list[Arm]:
    """Arms of names and of files `*.json`. `beside` is the folder of the upper bound, next to which theirs will be.

    Raises `UnknownName`, `ConfigError` naming a file, and `InputError` for names that cannot be folders.
    """
    found: list[Arm] = []
    for one in given:
        if one.endswith(".json"):
            config = load_agent_config(one)
            found.append(Arm(config.name, config))
        elif one in arms():
            found.append(Arm(one, one))
        else:
            raise UnknownName(f"there is no arm {one!r}; there are {', '.join(arms())}, or name a file agent.json")
    names = [arm.name for arm in found]
    for name in names:
        if names.count(name) > 1 or name == beside or name.startswith("."):
            raise InputError(f"the arm {name!r} needs a folder of its own beside that of the model, {beside!r}; rename it")
    return found
