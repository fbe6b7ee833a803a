"""Assistants that can be evaluated: over any kind of memory, or with a window and a memory of their own."""

from memagent.environments.amemgym.assistants.backend import MemoryAssistant
from memagent.environments.amemgym.assistants.base import Assistant
from memagent.environments.amemgym.assistants.window import Schedule
from memagent.environments.amemgym.assistants.windowed import AweAssistant, AwiAssistant

__all__ = ["Assistant", "AweAssistant", "AwiAssistant", "MemoryAssistant", "Schedule"]
