"""The kinds of memory by name. Plug-ins add theirs by the entry-point group `memagent.memories`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from memagent.errors import InputError, unknown_name

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


def load_memory(kind: str | type[Memory]) -> type[Memory]:
    """The class of a kind of memory; a class is its own. Raises `UnknownName` naming the nearest kind, and `InputError`."""
    from memagent.memory.base import Memory

    found: object = kind
    if isinstance(kind, str):
        name = kind.replace("-", "_")
        if name in BUILT_IN:
            module, class_name = BUILT_IN[name].split(":")
            found = getattr(import_module(module), class_name)
        else:
            found = next((point.load() for point in entry_points(group=GROUP) if point.name == name), None)
            if found is None:
                raise unknown_name("kind of memory", name, memory_kinds())
    if not (isinstance(found, type) and issubclass(found, Memory)):
        raise InputError(f"a kind of memory is {', '.join(memory_kinds())}, or a subclass of `memagent.Memory`, not {found!r}")
    return found


def check_options(kind: type[Memory], given: Iterable[str]) -> None:
    """Raise `UnknownName`, naming the nearest one that exists, for an option that a kind of memory does not take."""
    known: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            taken = inspect.signature(vars(base)["__init__"]).parameters.values()
            known |= {one.name for one in taken if one.kind is one.KEYWORD_ONLY}
            if not any(one.kind is one.VAR_KEYWORD for one in taken):
                break  # what it does not name, it does not pass on
    for name in given:
        if name not in known:
            raise unknown_name(f"option of {kind.kind} memories", name, sorted(known))
