"""The parts of verifiers 0.4.0 (`verifiers.v1`) that our adapter builds on: the same names and fields, and no more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict

One = TypeVar("One")
Two = TypeVar("Two")


class TasksetConfig(BaseModel):
    id: str = ""
    task: Any = None


class HarnessConfig(BaseModel):
    id: str = "bash"


class TaskData(BaseModel):
    model_config = ConfigDict(frozen=True)

    idx: int | None = None
    id: str | None = None
    prompt: Any = None


class Task(Generic[One]):
    def __init__(self, data: Any, config: Any = None) -> None:
        self.data, self.config = data, config


class Taskset(Generic[One, Two]):
    def __init__(self, config: Any) -> None:
        self.config = config


class Harness(Generic[One]):
    EXECUTES_CODE = True
    NEEDS_CONTAINER = True

    def __init__(self, config: Any) -> None:
        self.config = config


def reward(function: Callable[..., Any]) -> Callable[..., Any]:
    function.reward = True  # type: ignore[attr-defined]
    return function


def metric(function: Callable[..., Any]) -> Callable[..., Any]:
    function.metric = True  # type: ignore[attr-defined]
    return function


@dataclass
class ProgramResult:
    exit_code: int
    stdout: str
    stderr: str


def install(patch: pytest.MonkeyPatch) -> None:
    """Put it in the place of the package."""
    package, v1, runtimes = (ModuleType(name) for name in ("verifiers", "verifiers.v1", "verifiers.v1.runtimes"))
    for name in ("TasksetConfig", "HarnessConfig", "TaskData", "Task", "Taskset", "Harness", "reward", "metric"):
        setattr(v1, name, globals()[name])
    runtimes.ProgramResult = ProgramResult  # type: ignore[attr-defined]
    package.v1 = v1  # type: ignore[attr-defined]
    for module in (package, v1, runtimes):
        patch.setitem(sys.modules, module.__name__, module)
