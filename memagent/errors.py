"""The error tree: the root and what drawing may raise come from `memagent_renderers.errors`, models and stores add theirs."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from memagent_renderers.errors import (
    BudgetError,
    ConfigError,
    InputError,
    MemAgentError,
    MissingExtra,
    RenderError,
    UnknownName,
)

__all__ = [
    "BudgetError",
    "ConfigError",
    "EmbedderMismatch",
    "EngineError",
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
    "WorkerLost",
]


class NotFound(InputError):
    """No item, session or user has this id."""

    code = "not_found"


class MissingKey(ConfigError):
    """A hosted model needs a key and none was given."""

    code = "missing_key"


class ModelError(MemAgentError):
    """A model or its provider failed.

    `retryable` says whether the same call may succeed later; `status` and `request_id` are the provider's, if any. `partial`
    is what the model had said when it failed, "" when that was nothing: part of an answer, never a whole one.
    """

    code = "model"
    exit_code = 4

    def __init__(
        self, message: str, *, retryable: bool = False, status: int | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status
        self.request_id = request_id
        self.partial = ""


class NoAnswer(ModelError):
    """A model thought, and did not answer before its tokens were spent."""


class EngineError(ModelError):
    """What samples from a policy in training failed, or read another prompt than the trainer.

    `retryable`: the world's fault (a server that died, a time that ran out), which says nothing of the policy. Otherwise a
    setting is wrong, and every further request would fail or mislead alike.
    """

    code = "engine"


class MalformedOutput(ModelError):
    """A model answered, but not in the form asked for. `output` holds what it said, whole."""

    code = "malformed_output"

    def __init__(self, message: str, *, output: str) -> None:
        super().__init__(message, retryable=True)
        self.output = output


class StoreError(MemAgentError):
    """The memory store could not be read or written."""

    code = "store"
    exit_code = 5


class StoreLocked(StoreError):
    """Another process held the store for longer than the timeout."""

    code = "store_locked"


class StoreVersion(StoreError):
    """The store was written by a newer version of the program."""

    code = "store_version"


class StoreCorrupt(StoreError):
    """The file is not a store of ours, or it is damaged."""

    code = "store_corrupt"


class EmbedderMismatch(StoreError):
    """The store's vectors were made by another embedder than the one given."""

    code = "embedder_mismatch"


class PartialWrite(StoreError):
    """A write ended half-way. `stored` and `not_stored` list the ids on each side."""

    code = "partial_write"

    def __init__(self, message: str, *, stored: tuple[str, ...] = (), not_stored: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.stored = stored
        self.not_stored = not_stored


class WorkerLost(MemAgentError):
    """A process or machine that worked for a run ended, and so did those that took its work over."""

    code = "worker_lost"


def unknown_name(what: str, name: str, known: Sequence[str]) -> UnknownName:
    """The error for a name that nothing answers to, with the nearest one that something does."""
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownName(f"there is no {what} named {name!r}.{hint} Known: {', '.join(known)}")
