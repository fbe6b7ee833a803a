"""The parts of openenv 0.10.0 (`openenv.core.env_server`) that our adapter builds on: the same names and fields, no server."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict


class Action(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    metadata: dict[str, Any] = {}


class Observation(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    done: bool = False
    reward: bool | int | float | None = None
    metadata: dict[str, Any] = {}


class State(BaseModel):
    model_config = ConfigDict(extra="allow", validate_assignment=True)

    episode_id: str | None = None
    step_count: int = 0


class Environment:
    SUPPORTS_CONCURRENT_SESSIONS = False

    def __init__(self, transform: Any = None, rubric: Any = None) -> None:
        self.transform, self.rubric = transform, rubric


def create_app(env: Any, action_cls: Any, observation_cls: Any, **options: Any) -> dict[str, Any]:
    return {"env": env, "action_cls": action_cls, "observation_cls": observation_cls, **options}


def install(patch: pytest.MonkeyPatch) -> None:
    """Put it in the place of the package."""
    server = ModuleType("openenv.core.env_server")
    for name in ("Action", "Observation", "State", "Environment", "create_app"):
        setattr(server, name, globals()[name])
    for name, module in (
        ("openenv", ModuleType("openenv")),
        ("openenv.core", ModuleType("openenv.core")),
        ("openenv.core.env_server", server),
    ):
        patch.setitem(sys.modules, name, module)
