"""Priors: what a prompt's rollouts will score on average, guessed before they are made.

V0.5's baseline and sampling rule take one number a prompt and score, in units of that score, or None where nothing is known. V0
would be one such prior; here are those that need no model: what earlier visits earned, a constant, and a table made by anything
else. A recipe names one by its key in `PRIORS`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.needs import Needs, Range, Score
from memagent_training.grpo.prompt_stats import PromptStats


class Prior(Protocol):
    """What to expect of a prompt. A part is a dataclass: its fields are its settings in a recipe."""

    name: ClassVar[str]

    def value(self, prompt_id: str, *, score: Score, bounds: Range | None, history: PromptStats) -> float | None:
        """The expected score, or None when unknown.

        `bounds` is the range of the score, None where it has none; `history` holds the visits before this one.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class HistoryPrior:
    """The mean score of earlier visits, None before the first.

    It lags behind a policy that learns; V0.5's test is there to overrule it.
    """

    name: ClassVar[str] = "history"

    smoothing: float = 0.0
    """In [0, 1): the mean is drawn by this share towards the middle of the range, away from its very ends."""

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"`smoothing` is {self.smoothing}; it is a share in [0, 1), such as 0.05")

    @property
    def needs(self) -> Needs:
        """A range whose middle can be found, where it smooths."""
        return Needs(range=self.smoothing > 0)

    def value(self, prompt_id: str, *, score: Score, bounds: Range | None, history: PromptStats) -> float | None:
        """The smoothed mean. Raises `InputError` where it is to smooth a score without bounds."""
        mean = history.mean_score(prompt_id, score)
        if mean is None or self.smoothing == 0:
            return mean
        low, high = _known(bounds, self.name)
        return mean + self.smoothing * ((low + high) / 2 - mean)


@dataclass(frozen=True, kw_only=True)
class ConstantPrior:
    """The same expected score for every prompt: a poor man's prior, and a way to test how V0.5 overrules a wrong one."""

    name: ClassVar[str] = "constant"

    constant: float
    """Expected score, in its own units; within its range."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.constant):
            raise ConfigError(f"`constant` is {self.constant}; it must be a finite expected reward")

    def check_range(self, bounds: Range | None) -> None:
        """Raises `ConfigError` for a constant that no rollout could earn on average."""
        if bounds is not None and not bounds[0] <= self.constant <= bounds[1]:
            raise ConfigError(
                f'prior "constant": `constant` is {self.constant:g}, and what is expected lies from {bounds[0]:g} to '
                f"{bounds[1]:g}; give a number in that range"
            )

    def value(self, prompt_id: str, *, score: Score, bounds: Range | None, history: PromptStats) -> float | None:
        """The constant."""
        return self.constant


@dataclass(frozen=True, kw_only=True)
class TablePrior:
    """Success rates p from a file, as scores: low + (high - low) p of the score's range. None for prompts that it lacks.

    The file has one JSON object a line, `{"id": "prompt", "p": 0.25}`, with p in [0, 1] and each id once; other keys are passed
    over. It is read when the prior is made; `ConfigError` names the line that cannot be used.
    """

    name: ClassVar[str] = "table"
    needs: ClassVar[Needs] = Needs(checked=True, range=True)

    path: str
    """The file, UTF-8."""

    def __post_init__(self) -> None:
        _ = self.rates

    @cached_property
    def rates(self) -> dict[str, float]:
        """Success rates, 0 to 1, by prompt id. Raises `ConfigError` with the line that cannot be used."""
        try:
            lines = Path(self.path).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the table of priors `{self.path}` cannot be read ({error}); give a file of JSON lines"
            ) from error
        rates: dict[str, float] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"`{self.path}` line {number}"
            try:
                row = json.loads(line)
                name, rate = row["id"], float(row["p"])
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(f'{place} is not {{"id": ..., "p": ...}}: {line[:80]}') from error
            if not isinstance(name, str) or not 0 <= rate <= 1 or name in rates:
                raise ConfigError(f"{place}: ids are text and come once, p is in [0, 1]; got {line[:80]}")
            rates[name] = rate
        return rates

    def value(self, prompt_id: str, *, score: Score, bounds: Range | None, history: PromptStats) -> float | None:
        """The table's success rate as a score. Raises `InputError` for a score without bounds."""
        rate = self.rates.get(prompt_id)
        if rate is None:
            return None
        low, high = _known(bounds, self.name)
        return low + (high - low) * rate


def _known(bounds: Range | None, name: str) -> Range:
    if bounds is None:
        raise InputError(f"prior `{name}` needs the range of the score, and it has no bounds; use prior `constant`")
    return bounds


PRIORS: dict[str, type[HistoryPrior] | type[ConstantPrior] | type[TablePrior]] = {
    HistoryPrior.name: HistoryPrior,
    ConstantPrior.name: ConstantPrior,
    TablePrior.name: TablePrior,
}
"""Prior by name."""
