"""The kinds of memory by name. Plug-ins add theirs by the entry-point group `memagent.memories`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memagent.memory.base import Memory

BUILT_IN = {
    "rag": "memagent.memory.rag:RagMemory",
    "long_context": "memagent.memory.long_context:LongContextMemory",
    "notes": "memagent.memory.notes.memory:NotesMemory",
    "memocr": "memagent.memory.memocr.memory:MemOcrMemory",
}
GROUP = "memagent.memories"


def memory_kinds() -> list[str]:
    """Names of every kind of memory that can be used here."""
    return [*BUILT_IN, *(point.name for point in entry_points(group=GROUP))]


def load_memory(kind: str) -> type[Memory]:
    """The class of a kind of memory. Raises `UnknownName` naming the nearest one that exists."""
    from memagent.errors import unknown_name
    from memagent.memory.base import Memory

    kind = kind.replace("-", "_")
    found: object = None
    if kind in BUILT_IN:
        module, name = BUILT_IN[kind].split(":")
        found = getattr(import_module(module), name)
    else:
        for point in entry_points(group=GROUP):
            if point.name == kind:
                found = point.load()
    if not (isinstance(found, type) and issubclass(found, Memory)):
        raise unknown_name("kind of memory", kind, memory_kinds())
    return found
