"""Our memories keep the contract that users' own are held to."""

from __future__ import annotations

from memagent.memory.long_context import LongContextMemory
from memagent.memory.rag import RagMemory
from memagent.testing.contract import MemoryContract


class TestRag(MemoryContract):
    memory_class = RagMemory


class TestLongContext(MemoryContract):
    memory_class = LongContextMemory
