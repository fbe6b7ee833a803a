"""Rollouts that the world kept from their ends, and processes that fail.

A server that dies or a store that is locked says nothing of the policy: such a rollout has `Rollout.failed` set and is in no
group, so neither rows nor baselines, statistics or reward means know of it. A policy's own nonsense is no failure; it earns 0.
Our own mistakes, a setting or a missing package, are no data at all: they stop the run, on all processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from memagent.errors import ConfigError, EngineError, MemAgentError, ModelError, StoreError
from memagent_training.grpo.rollout import Group
from memagent_training.objectives.base import EpisodeResult, Objective
from memagent_training.rollouts.workers import WorkerDied


class RaisedElsewhere(MemAgentError):
    """Another process of the run has failed; the message is its own."""

    code = "elsewhere"


def ended_by(error: MemAgentError, objective: Objective) -> tuple[EpisodeResult, str | None]:
    """What an episode ends with that one of our errors ended, and `Rollout.failed`. Raises an error that is no data."""
    if isinstance(error, ConfigError):  # a missing package or setting fails every episode alike
        raise error
    if isinstance(error, EngineError) and not error.retryable:  # so does an engine that is set up otherwise
        raise error
    least = {key: bounds[0] if bounds else 0.0 for key, bounds in objective.gives.ranges.items()}
    failed = f"{error.code}: {error}" if isinstance(error, ModelError | StoreError | WorkerDied) else None
    return EpisodeResult(rewards=least, valid=False, answer=f"error: {error.code}"), failed


def from_all(value: Any) -> list[Any]:
    """`value` of every process; all call it. Raises `RaisedElsewhere` where another process gives an exception as its value."""
    from accelerate.utils import gather_object

    told = f"{type(value).__name__}: {value}" if isinstance(value, Exception) else None
    found = gather_object([(value if told is None else None, told)])
    elsewhere = next((said for _, said in found if said is not None), None)
    if told is None and elsewhere is not None:
        raise RaisedElsewhere(f"another process has failed: {elsewhere}")
    return [one for one, _ in found]


def sound_groups(groups: Sequence[Group], *, priors: Sequence[float | None] | None, max_failed: float) -> list[Group]:
    """The groups without what has failed, in their places.

    A group that failures leave a single rollout of is emptied, unless its prior can judge that. `priors` are None where nothing
    is judged. Raises `EngineError` when more than `max_failed` of all rollouts have failed, with the commonest reason.
    """
    failed = [rollout.failed for group in groups for rollout in group if rollout.failed is not None]
    total = sum(map(len, groups))
    if failed and len(failed) > max_failed * total:
        [(reason, times)] = Counter(failed).most_common(1)
        raise EngineError(
            f"{len(failed)} of {total} rollouts failed, more than the {max_failed:.0%} that rollouts.max_failed allows; "
            f"{times} times: {reason}"
        )
    sound: list[Group] = []
    for place, group in enumerate(groups):
        kept = [rollout for rollout in group if rollout.failed is None]
        alone = len(kept) == 1 < len(group) and priors is not None and priors[place] is None
        sound.append([] if alone else kept)
    return sound


def failure_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """How many rollouts have failed, in all and by kind; nothing where none has."""
    kinds = Counter(rollout.failed.partition(":")[0] for group in groups for rollout in group if rollout.failed is not None)
    return (
        {}
        if not kinds
        else {"rollouts/failed": float(kinds.total())}
        | {f"rollouts/failed_{kind}": float(count) for kind, count in kinds.items()}
    )
