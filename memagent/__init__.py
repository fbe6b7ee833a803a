"""Memory agents: four interchangeable memories behind one interface.

    from memagent import Agent, Store

    with Store("mem") as store:
        memory = store.memory("rag", user="ada")
        memory.remember("My dog is called Biscuit.")
        agent = Agent(model="embedded", memory=memory)
        print(agent.run("What is my dog called?").text)

Importing this package loads nothing heavy; names are found on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memagent.agent import Agent, Answer, AnswerStream
    from memagent.aio import AsyncAgent, AsyncAnswerStream, AsyncMemory, AsyncStore
    from memagent.db.sessions import Session
    from memagent.errors import (
        BudgetError,
        ConfigError,
        InputError,
        MemAgentError,
        MissingExtra,
        ModelError,
        NotFound,
        StoreError,
        UnknownName,
    )
    from memagent.memory.base import Memory
    from memagent.models.base import ChatModel, Reply, ReplyStream
    from memagent.models.registry import load_model
    from memagent.store import Store
    from memagent.types import (
        AuditFinding,
        ConsolidationResult,
        HistoryEntry,
        ImagePart,
        Item,
        Message,
        Recall,
        Receipt,
        SearchResult,
        Source,
        Stats,
        TextPart,
        Usage,
        WriteResult,
    )
    from memagent_renderers.budget import Budget, Picture, ReaderProfile

__version__ = "0.1.0"

_HOMES = {
    "memagent.agent": "Agent Answer AnswerStream",
    "memagent.aio": "AsyncAgent AsyncAnswerStream AsyncMemory AsyncStore",
    "memagent.db.sessions": "Session",
    "memagent.errors": "BudgetError ConfigError InputError MemAgentError MissingExtra ModelError NotFound StoreError "
    "UnknownName",
    "memagent.memory.base": "Memory",
    "memagent.models.base": "ChatModel Reply ReplyStream",
    "memagent.models.registry": "load_model",
    "memagent.store": "Store",
    "memagent.types": "AuditFinding ConsolidationResult HistoryEntry ImagePart Item Message Recall Receipt SearchResult Source "
    "Stats TextPart Usage WriteResult",
    "memagent_renderers.budget": "Budget Picture ReaderProfile",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Agent",
    "Answer",
    "AnswerStream",
    "AsyncAgent",
    "AsyncAnswerStream",
    "AsyncMemory",
    "AsyncStore",
    "AuditFinding",
    "Budget",
    "BudgetError",
    "ChatModel",
    "ConfigError",
    "ConsolidationResult",
    "HistoryEntry",
    "ImagePart",
    "InputError",
    "Item",
    "MemAgentError",
    "Memory",
    "Message",
    "MissingExtra",
    "ModelError",
    "NotFound",
    "Picture",
    "ReaderProfile",
    "Recall",
    "Receipt",
    "Reply",
    "ReplyStream",
    "SearchResult",
    "Session",
    "Source",
    "Stats",
    "Store",
    "StoreError",
    "TextPart",
    "UnknownName",
    "Usage",
    "WriteResult",
    "load_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'memagent' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
