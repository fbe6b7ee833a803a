"""The one error tree of the project, rooted here because every room may depend on `renderers`.

`memagent.errors` re-exports all of it. An error names the boundary that failed; its message holds what was seen,
what is allowed and what to do next. `code` is the stable name used in JSON output, `exit_code` the status with
which the command line ends: 1 unexpected, 2 usage, 3 configuration, 4 model, 5 store.
"""

from __future__ import annotations

from typing import ClassVar


class MemAgentError(Exception):
    """Root of every error that this project raises on purpose."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1


class InputError(MemAgentError):
    """A value given by the caller cannot be used: wrong type, too large, unknown id."""

    code = "input"
    exit_code = 2


class NotFound(InputError):
    """No item, session or user has this id."""

    code = "not_found"


class BudgetError(InputError):
    """A token budget that no view can meet: zero, negative, or below what the reader or the strategy needs."""

    code = "budget"


class ConfigError(MemAgentError):
    """Configuration is missing or contradicts itself."""

    code = "config"
    exit_code = 3


class MissingExtra(ConfigError):
    """An optional dependency is not installed; the message holds the line that installs it."""

    code = "missing_extra"

    def __init__(self, feature: str, install: str) -> None:
        super().__init__(f"{feature} is not installed. Install it with: {install}")
        self.feature = feature
        self.install = install


class MissingKey(ConfigError):
    """A hosted model needs a key and none was given."""

    code = "missing_key"


class UnknownName(ConfigError):
    """A model, memory, embedder or engine name that no plug-in answers to."""

    code = "unknown_name"


class ModelError(MemAgentError):
    """A model or its provider failed.

    `retryable` says whether the same call may succeed later; `status` and `request_id` are the provider's, if any.
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


class MalformedOutput(ModelError):
    """A model answered, but not in the form asked for. `output` holds what it said, whole."""

    code = "malformed_output"

    def __init__(self, message: str, *, output: str) -> None:
        super().__init__(message, retryable=True)
        self.output = output


class RenderError(MemAgentError):
    """A layout engine could not draw a page."""

    code = "render"


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
