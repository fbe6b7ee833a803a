"""The error tree, re-exported where users of `memagent` look for it."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from memagent_renderers.errors import (
    BudgetError,
    ConfigError,
    EmbedderMismatch,
    InputError,
    MalformedOutput,
    MemAgentError,
    MissingExtra,
    MissingKey,
    ModelError,
    NotFound,
    PartialWrite,
    RenderError,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreVersion,
    UnknownName,
)

__all__ = [
    "BudgetError",
    "ConfigError",
    "EmbedderMismatch",
    "InputError",
    "MalformedOutput",
    "MemAgentError",
    "MissingExtra",
    "MissingKey",
    "ModelError",
    "NotFound",
    "PartialWrite",
    "RenderError",
    "StoreCorrupt",
    "StoreError",
    "StoreLocked",
    "StoreVersion",
    "UnknownName",
]


def unknown_name(what: str, name: str, known: Sequence[str]) -> UnknownName:
    """The error for a name that nothing answers to, with the nearest one that something does."""
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownName(f"there is no {what} named {name!r}.{hint} Known: {', '.join(known)}")
