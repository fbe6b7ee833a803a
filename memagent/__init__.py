"""Memory agents: four interchangeable memories behind one interface.

    from memagent import Agent, Store

    with Store("mem") as store:
        agent = Agent(model="embedded", memory=store.memory("rag", user="ada"))
        print(agent.run("What is my dog called?").text)

Importing this package loads nothing heavy; names are found on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memagent.agent import Agent, Answer, AnswerStream
    from memagent.aio import AsyncAgent, AsyncMemory
    from memagent.errors import MemAgentError
    from memagent.memory.base import Memory
    from memagent.models.base import ChatModel, Reply
    from memagent.models.registry import load_model
    from memagent.store import Store
    from memagent.types import ImagePart, Message, Recall, Receipt, TextPart, Usage
    from memagent_renderers.budget import Budget, Picture, ReaderProfile

__version__ = "0.1.0"

_HOMES = {
    "Agent": "memagent.agent",
    "Answer": "memagent.agent",
    "AnswerStream": "memagent.agent",
    "AsyncAgent": "memagent.aio",
    "AsyncMemory": "memagent.aio",
    "Budget": "memagent_renderers.budget",
    "ChatModel": "memagent.models.base",
    "ImagePart": "memagent.types",
    "MemAgentError": "memagent.errors",
    "Memory": "memagent.memory.base",
    "Message": "memagent.types",
    "Picture": "memagent_renderers.budget",
    "ReaderProfile": "memagent_renderers.budget",
    "Recall": "memagent.types",
    "Receipt": "memagent.types",
    "Reply": "memagent.models.base",
    "Store": "memagent.store",
    "TextPart": "memagent.types",
    "Usage": "memagent.types",
    "load_model": "memagent.models.registry",
}

__all__ = [
    "Agent",
    "Answer",
    "AnswerStream",
    "AsyncAgent",
    "AsyncMemory",
    "Budget",
    "ChatModel",
    "ImagePart",
    "MemAgentError",
    "Memory",
    "Message",
    "Picture",
    "ReaderProfile",
    "Recall",
    "Receipt",
    "Reply",
    "Store",
    "TextPart",
    "Usage",
    "load_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'memagent' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
