"""Assistants that can be evaluated: over any kind of memory, or with a window and a memory of their own."""

from memagent.environments.amemgym.assistants.base import Assistant
from memagent.environments.amemgym.assistants.build import build_assistant, methods
from memagent.environments.amemgym.assistants.config import AgentConfig, load_agent_config
from memagent.environments.amemgym.assistants.evolving import EvolvingAssistant
from memagent.environments.amemgym.assistants.keyword import KeywordAssistant
from memagent.environments.amemgym.assistants.memory import MemoryAssistant
from memagent.environments.amemgym.assistants.native import NativeAssistant
from memagent.environments.amemgym.assistants.window import Schedule
from memagent.environments.amemgym.assistants.windowed import AweAssistant, AwiAssistant, RagAssistant, WindowedAssistant

__all__ = [
    "AgentConfig",
    "Assistant",
    "AweAssistant",
    "AwiAssistant",
    "EvolvingAssistant",
    "KeywordAssistant",
    "MemoryAssistant",
    "NativeAssistant",
    "RagAssistant",
    "Schedule",
    "WindowedAssistant",
    "build_assistant",
    "load_agent_config",
    "methods",
]
