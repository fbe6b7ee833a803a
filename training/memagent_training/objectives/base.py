"""What an objective is: how one attempt at a task goes, and what it earns.

An attempt (`episode`) is a generator in the manner of `memagent.memory.memocr.loops`: it yields model requests, is sent the
replies, and returns an `EpisodeResult`. It calls no model itself, so the trainer runs thousands of them at a time and records
what went by as `Segment`s. What takes a processor long, a drawing, it yields as a `WorkItem` and is sent the result, so that
others generate meanwhile. An objective may also choose what a training step is about (`batch`): the default is the
tasks drawn from the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

from memagent.errors import ConfigError
from memagent.models.base import Request
from memagent_training.grpo.needs import Needs, Rewards
from memagent_training.grpo.rollout import Rollout

Task = Mapping[str, object]
"""A row of the data set. `id` (str) is stable over epochs; the rest belongs to the objective."""

Roll = Callable[[Sequence[Task], int], Sequence[Rollout]]
"""Roll out each task so often, without training on it; rollouts come back task by task. `group_id` is the visit."""


@dataclass(frozen=True)
class PolicyRequest(Request):
    """A request whose reply becomes a training segment."""

    role: str = "answer"
    """`Segment.role` of the reply."""
    weight: float = 1.0
    """`Segment.weight` of the reply; 0 keeps the segment out of the loss."""


@dataclass(frozen=True)
class WorkItem:
    """A call that an episode waits for; it may run in another process, so what goes in and out is pickled.

    `function` is one of a module. What it raises is raised where the episode yields the item.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()


P = ParamSpec("P")
R = TypeVar("R")


def in_worker(function: Callable[P, R], *args: P.args, **options: P.kwargs) -> Generator[WorkItem, Any, R]:
    """`result = yield from in_worker(function, ...)`: the call as a `WorkItem`."""
    result: R = yield WorkItem(partial(function, **options) if options else function, args)
    return result


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """What an attempt ended with; the fields are those of `Rollout`."""

    rewards: dict[str, float] = field(default_factory=dict)
    turn_rewards: tuple[float, ...] = ()
    answer: str | None = None
    correct: bool | None = None
    valid: bool = True


Episode = Generator[Request | WorkItem, Any, EpisodeResult]
"""One attempt: it is sent a `Reply` to a request, and what a work item gives."""


def check_temperature(temperature: float) -> None:
    """Raises `ConfigError` unless above 0."""
    if not temperature > 0:
        raise ConfigError(f"`temperature` is {temperature}; a policy is trained on what it samples, give more than 0")


class Objective(Protocol):
    """What is rolled out and rewarded."""

    gives: Rewards
    """What every `EpisodeResult` holds: the keys of rewards and their ranges, and which of them allocators look at."""

    def episode(self, task: Task, *, seed: int) -> Episode:
        """One attempt. `seed` differs between the attempts of a group; requests need not be `PolicyRequest`s (role
        `answer`)."""
        ...

    def batch(self, drawn: Sequence[Task], *, step: int, roll: Roll) -> Sequence[Task]:
        """The tasks to train on at generation batch `step` (0, 1, ...), given those drawn. Empty: the step is skipped."""
        ...

    def observe(self, rollouts: Sequence[Rollout]) -> None:
        """Told the scored rollouts of every batch that is trained on, in order, before the next `batch`."""
        ...

    def metrics(self) -> dict[str, float]:
        """Numbers of its own about the last batch, for the log."""
        ...

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint must hold, as JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what `state_dict` gave."""
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a recipe builds an objective with, beside the objective's own settings."""

    task: Any
    """The recipe's task."""
    tasks: int = 1
    """Rows drawn from it."""
    temperature: float = 1.0
    group_size: int = 8
    seed: int = 0
    model: Any = None
    processing: Any = None
    """The policy's tokenizer, or its processor when it sees."""


class ObjectiveSettings(Protocol):
    """The part of a recipe that becomes an `Objective`: a dataclass whose fields are its settings."""

    name: ClassVar[str]

    @property
    def gives(self) -> Rewards:
        """What its episodes end with."""
        ...

    @property
    def needs(self) -> Needs:
        """The forms of tasks that it can do, and what the policy must be able to."""
        ...

    def reply_tokens(self, task: Any) -> int:
        """Most tokens of any reply, verdicts too: vLLM samples no more, and the loss `dr_grpo` divides by it."""
        ...

    def build(self, setup: Setup) -> Objective:
        """The objective."""
        ...


class PlainBatches:
    """The usual schedule, to inherit from: train on what was drawn, remember nothing."""

    def batch(self, drawn: Sequence[Task], *, step: int, roll: Roll) -> Sequence[Task]:
        """The drawn tasks themselves."""
        return drawn

    def observe(self, rollouts: Sequence[Rollout]) -> None:
        """Nothing is kept."""

    def metrics(self) -> dict[str, float]:
        """Nothing of its own."""
        return {}

    def state_dict(self) -> dict[str, object]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Nothing to restore."""
