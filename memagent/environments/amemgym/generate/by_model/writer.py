"""A model that writes one user: every call of a user goes through here, with its seed, its limits and its count.

The seed of a call comes from the user's key and the name of the step, so that a user does not depend on what else is
written at the time, and a rejected answer is asked for again with the next seed. An error names its step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from pydantic import BaseModel

from memagent.errors import MalformedOutput
from memagent.models.base import ChatModel
from memagent.models.concurrency import CallPool
from memagent.models.structured import InvalidAnswer, UsageCounter, ask_json
from memagent.types import user_message

T = TypeVar("T", bound=BaseModel)

HIGH, LOW = 1.0, 0.2
"""Temperatures: of what is invented freely (questions, changes of values), and of all else."""
MAX_TOKENS = 4_096
MAX_REWRITES = 20
"""Times that one text is written anew because a reader does not take it as it is meant."""
_TOLD = 5
"""Problems of an answer that are told at once."""


def reject(problems: Sequence[str]) -> None:
    """Raise `InvalidAnswer` with the first problems, if there are any: the model is told them and asked again."""
    if problems:
        raise InvalidAnswer("; ".join(problems[:_TOLD]))


class Writer:
    """A model on behalf of one user, used by one thread.

    No call is begun once `limit` has been stopped. `tick` is called with the calls just made.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        key: str,
        limit: CallPool | None = None,
        tick: Callable[[int], None] | None = None,
    ) -> None:
        self._model, self._key, self._tick = model, key, tick
        self._limit = limit or CallPool(1)
        self.tally = UsageCounter()
        self.repairs = 0
        """Calls made because a reader did not take a text as it was meant: writing it anew, and checking it again."""

    def seed(self, step: str) -> str:
        return f"{self._key}:{step}"

    def rng(self, step: str) -> Random:
        return Random(self.seed(step))

    def ask(
        self, step: str, prompt: str, schema: type[T], *, check: Callable[[T], object] | None = None, temperature: float = LOW
    ) -> T:
        """The model's answer. Raises `MalformedOutput` that names the step when no try would do."""
        self._limit.go_on()
        number = int.from_bytes(hashlib.sha256(self.seed(step).encode()).digest()[:4], "big") >> 2
        before = self.tally.usage.calls
        try:
            return ask_json(
                self._model,
                [user_message(prompt)],
                schema,
                check=check,
                temperature=temperature,
                max_tokens=MAX_TOKENS,
                seed=number,
                tally=self.tally,
            )
        except MalformedOutput as error:
            raise MalformedOutput(f"{step}: {error}", output=error.output) from error
        finally:
            if self._tick is not None:
                self._tick(self.tally.usage.calls - before)

    def revise_until_sound(
        self, step: str, text: str, *, problem: Callable[[str, str], str | None], again: Callable[[str, str, str], str]
    ) -> str:
        """`text`, written anew until `problem` finds none; both callbacks get the step's name first.

        Raises `MalformedOutput` when there still is a problem after `MAX_REWRITES`.
        """
        for turn in range(MAX_REWRITES + 1):
            found = problem(f"{step}, check {turn}", text)
            if found is None:
                return text
            if turn < MAX_REWRITES:
                self.repairs += 2
                text = again(f"{step}, rewrite {turn}", text, found)
        raise MalformedOutput(f"{step}: still wrong after {MAX_REWRITES} rewrites: {found}", output=text)
