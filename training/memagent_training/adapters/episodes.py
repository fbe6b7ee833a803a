"""What every other trainer needs of us: tasks by split and number, and attempts at them that it drives itself.

An `Attempt` is one episode under way. Whoever has the policy looks at `request`, gives `reply` its text, and goes on until
`request` is None; then `result` holds the rewards. What an error means is told as in a run of ours: a setting or a missing
package is raised, the policy's nonsense ends the attempt without reward, and where the world is to blame the attempt has
`failed` and is no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from memagent.errors import ConfigError, InputError, MemAgentError
from memagent.models.base import Reply, Request
from memagent_training.grpo.needs import needs_of
from memagent_training.objectives.base import EpisodeResult, Objective, PolicyRequest, WorkItem
from memagent_training.recipe import Recipe
from memagent_training.rollouts.driver import seed_of
from memagent_training.rollouts.failures import ended_by
from memagent_training.tasks.base import Row


@dataclass(frozen=True)
class Episodes:
    """Tasks by split, and the objective that says how an attempt at one goes."""

    objective: Objective
    splits: Mapping[str, Sequence[Row]] = field(kw_only=True)

    @classmethod
    def of(cls, recipe: Recipe, *, tasks: int | None = None, model: Any = None, processing: Any = None) -> Episodes:
        """Those of a recipe, `tasks` rows a split (None: as many as the recipe says).

        A task without a share for tests has the split `train` alone.

        `model` (its `config` is enough) and `processing` are needed where the objective counts the policy's tokens. Raises
        `ConfigError` without them, and what the task raises.
        """
        if needs_of(recipe.objective).policy and (processing is None or getattr(model, "config", None) is None):
            raise ConfigError(
                f'objective "{recipe.objective.name}" counts tokens of the policy: give `model` (what has its `config`) and '
                "`processing`, its tokenizer or processor"
            )
        number, draw = tasks or recipe.tasks, recipe.task.tasks
        names = ("train", "test") if getattr(recipe.task, "test_share", 0) else ("train",)
        options: list[dict[str, str]] = [{} if name == "train" else {"split": name} for name in names]
        rows = [draw(number, seed=recipe.seed, **one) for one in options]
        return cls(recipe.make_objective(model=model, processing=processing), splits=dict(zip(names, rows, strict=True)))

    def rows(self, split: str) -> Sequence[Row]:
        """The tasks of a split. Raises `InputError` for a split that there is not."""
        if split not in self.splits:
            raise InputError(f"there is no split `{split}`; there are: {', '.join(self.splits)}")
        return self.splits[split]

    def start(self, *, split: str = "train", index: int = 0, seed: int = 0) -> Attempt:
        """An attempt at a task. Raises `InputError` for a task that there is not."""
        rows = self.rows(split)
        if not 0 <= index < len(rows):
            raise InputError(f"split `{split}` has the tasks 0 to {len(rows) - 1}, not {index}")
        return Attempt(self.objective, rows[index], seed=seed)


class Attempt:
    """One episode under way."""

    def __init__(self, objective: Objective, row: Row, *, seed: int) -> None:
        self.request: Request | None = None
        """What the policy is asked now; None at the end."""
        self.result: EpisodeResult | None = None
        """How it ended; None before."""
        self.failed: str | None = None
        """What the world did to it, so that it is no data; None: it came to an end of its own."""
        self.turns = 0
        """Replies given."""
        self._objective = objective
        self._loop = objective.episode(row, seed=seed_of(seed, row["id"]))
        self._go(partial(next, self._loop))

    @property
    def role(self) -> str:
        """Of the reply that is waited for, as in `Segment.role`."""
        return self.request.role if isinstance(self.request, PolicyRequest) else "answer"

    @property
    def reward(self) -> float:
        """The reward that allocators look at: the objective's primary one, or the sum of all. 0 before the end."""
        rewards = {} if self.result is None else self.result.rewards
        primary = self._objective.gives.primary
        return float(sum(rewards.values()) if primary is None else rewards.get(primary, 0.0))

    def reply(self, text: str, *, cut: bool = False) -> None:
        """What the policy said; `cut` where it ran into its limit of tokens. Raises `InputError` after the end."""
        if self.request is None:
            raise InputError("this attempt has ended, and takes no reply; start another one")
        self.turns += 1
        reply = Reply(text=text, stop_reason="length" if cut else "stop")
        self._go(partial(self._loop.send, reply))

    def fail(self, error: MemAgentError) -> None:
        """End the attempt, as no reply came because of `error`. Raises it where it is a wrong setting."""
        self._loop.close()
        self._end(error)

    def _go(self, step: Callable[[], Request | WorkItem]) -> None:
        try:
            while isinstance(asked := step(), WorkItem):
                try:
                    step = partial(self._loop.send, asked.function(*asked.args))
                except Exception as error:  # raised where the function would have been called
                    step = partial(self._loop.throw, error)
            self.request = asked
        except StopIteration as end:
            self.request, self.result = None, end.value
        except MemAgentError as error:
            self._end(error)

    def _end(self, error: MemAgentError) -> None:
        self.request = None
        self.result, self.failed = ended_by(error, self._objective)
