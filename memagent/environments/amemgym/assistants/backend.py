"""An assistant over any `Memory` of memagent: long context, retrieval, notes, MemOCR, or a plug-in's."""

from __future__ import annotations

from pathlib import Path

from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.memory.base import Memory
from memagent.memory.results import Recall
from memagent.messages import Message
from memagent.models.base import ChatModel


class MemoryAssistant(Assistant):
    """Observes every round; distils when a period's conversations are over."""

    def __init__(
        self, memory: Memory, *, name: str | None = None, voice: ChatModel | None = None, budget: int = BUDGET
    ) -> None:
        super().__init__(name or memory.kind, voice=voice, budget=budget)
        self.memory = memory

    def settle(self) -> None:
        """Distil and embed what is waiting."""
        self.memory.flush()

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        """The memory's own view."""
        return self.memory.recall(prompt, budget=self.budget if budget is None else budget)

    def save(self, folder: Path) -> None:
        """Write the memory's snapshot."""
        folder.mkdir(parents=True, exist_ok=True)
        self.memory.snapshot(folder / "memory.snapshot")

    def _take(self, said: Message, reply: Message, session: str) -> None:
        self.memory.observe([said, reply], session=session)
