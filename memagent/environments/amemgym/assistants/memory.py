"""An assistant over any `Memory` of memagent: long context, retrieval, notes, MemOCR, or a plug-in's."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from memagent.db.ids import TAG_LENGTH
from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.environments.amemgym.assistants.snapshot import Clock, read_clock, write_clock
from memagent.memory.base import Memory
from memagent.models.base import ChatModel
from memagent.types import Message, Recall

SNAPSHOT = "memory.snapshot"
_WRITTEN_AT = ("created_at", "at")
"""Columns of the store that say when a row was written, by the machine's clock."""
_TAG = re.compile(rf'(?<=")([a-z]\d+)-[a-z2-7]{{{TAG_LENGTH}}}(?=\\*")')
"""The end of an id, by which it is told from those of other stores."""


class MemoryAssistant(Assistant):
    """Adds every round to the memory; consolidates when a period's conversations are over."""

    def __init__(self, memory: Memory, *, model: ChatModel | None = None, budget: int = BUDGET) -> None:
        super().__init__(memory.kind, model=model, budget=budget)
        self.memory = memory

    def consolidate(self) -> None:
        self.memory.consolidate()

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        return self.memory.recall(prompt, budget=self.budget if budget is None else budget)

    def stored_texts(self) -> list[str]:
        return [f"{one.label}: {one.text}" if one.label else one.text for one in self.memory.items()]

    def save(self, folder: Path) -> None:
        """Write the memory's snapshot, without the clock's times and the store's tag: runs can be compared byte by byte."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as place:
            lines = self.memory.snapshot(Path(place) / "snapshot").read_text("utf-8").splitlines()
        with (folder / SNAPSHOT).open("w", encoding="utf-8") as file:
            for line in map(json.loads, (_TAG.sub(rf"\1-{'a' * TAG_LENGTH}", line) for line in lines)):
                row = line.get("row", {})
                row.update({name: self._time.isoformat() for name in _WRITTEN_AT if row.get(name) is not None})
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        write_clock(Clock(time=self._time, session=self._session), folder)

    def load(self, folder: Path) -> None:
        clock = read_clock(folder)
        self.memory.restore(folder / SNAPSHOT)
        self._time, self._session = clock.time, clock.session

    def _remember(self, said: Message, reply: Message, session: str) -> None:
        self.memory.add([said, reply], session=session)
