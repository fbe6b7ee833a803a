"""MemOCR memories on the fake engine: made, told, and looked at."""

from __future__ import annotations

from typing import Any

from memagent.memory.memocr.memory import MemOcrMemory
from memagent.store import Store
from memagent.testing.contract import WORDS
from memagent.types import Message, Recall
from memagent_renderers.budget import Budget, Picture, text_of
from memagent_renderers.fonts import substitute
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


def drawn(picture: Picture, text: str) -> tuple[int, float]:
    """Where on a page a text first stands, blanks aside, and its size of type in px; -1 and 0 where it does not."""
    lines = [("".join(line.text.split()), line.size) for line in picture.lines]
    place = "".join(said for said, _ in lines).find("".join(substitute(text)[0].split()))
    left = place
    for said, size in lines:
        if 0 <= left < len(said):
            return place, size
        left -= len(said)
    return -1, 0.0
