"""MemOCR memories on the fake engine: made, told, and looked at."""

from __future__ import annotations

from typing import Any

from memagent.memory.memocr.memory import MemOcrMemory
from memagent.store import Store
from memagent.testing.contract import WORDS
from memagent.types import Message, Recall
from memagent_renderers.budget import Budget, text_of
from memagent_renderers.ocr.fake import FakePictureReader


def make(store: Store, **options: Any) -> MemOcrMemory:
    memory = store.memory("memocr", user="ada", **{"engine": "fake", **options})
    assert isinstance(memory, MemOcrMemory)
    return memory


def look(memory: MemOcrMemory, query: str, tokens: int = 256, **options: Any) -> tuple[Recall, str]:
    """A recall, and what an eye reads on it, as one line."""
    recall = memory.recall(query, budget=Budget(tokens, WORDS), **options)
    assert recall.cost <= tokens
    return recall, "" if recall.picture is None else " ".join(text_of(FakePictureReader().read(recall.picture)).split())


def tell(memory: MemOcrMemory, *texts: str) -> tuple[str, ...]:
    return memory.add([Message(role="user", content=text) for text in texts]).ids
