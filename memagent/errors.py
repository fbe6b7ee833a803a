"""The error tree, re-exported where users of `memagent` look for it."""

import renderers

if getattr(renderers, "MEMAGENT_RENDERERS", None) is None:
    raise ImportError(
        f"memagent needs its own package `renderers`, but {renderers.__file__ or list(renderers.__path__)} stands before it; "
        "rename that one, or put memagent's folder first on sys.path (`memagent doctor` shows both)"
    )

from renderers.errors import (
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
