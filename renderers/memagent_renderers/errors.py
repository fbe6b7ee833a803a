"""The root of the project's one error tree, here because every room may depend on this package, and what drawing raises.

`memagent.errors` re-exports these and adds the errors of models and stores. An error names the boundary that failed; its
message holds what was seen, what is allowed and what to do next. `code` is the stable name used in JSON output,
`exit_code` the status with which the command line ends: 1 unexpected, 2 usage, 3 configuration, 4 model, 5 store.
"""

from __future__ import annotations

from typing import ClassVar


class MemAgentError(Exception):
    """Root of every error that this project raises on purpose."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled by its state: constructors here take more than the message, so calling them again would fail."""
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(kind: type[MemAgentError], args: tuple[object, ...]) -> MemAgentError:
    error = kind.__new__(kind)
    error.args = args
    return error


class InputError(MemAgentError):
    """A value given by the caller cannot be used: wrong type, too large, unknown id."""

    code = "input"
    exit_code = 2


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


class UnknownName(ConfigError):
    """A model, memory, embedder or engine name that no plug-in answers to."""

    code = "unknown_name"


class RenderError(MemAgentError):
    """A layout engine could not draw a page."""

    code = "render"
