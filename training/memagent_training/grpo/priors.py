"""Priors: what a prompt's rollouts will earn on average, guessed before they are made.

V0.5's baseline and sampling rule take one number a prompt, in units of rewards, or None where nothing is known. V0 would be one
such prior; here are those that need no model: what earlier visits earned, a constant, and a table made by anything else. A
recipe names one by its key in `PRIORS`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from memagent.errors import ConfigError
from memagent_training.grpo.needs import Needs
from memagent_training.grpo.prompt_stats import PromptStats
from memagent_training.grpo.validate import check_range


class Prior(Protocol):
    """An expected reward for a prompt. A part is a dataclass: its fields are its settings in a recipe."""

    name: ClassVar[str]

    def value(self, prompt_id: str, *, history: PromptStats) -> float | None:
        """The expected reward, in reward units, or None when unknown. `history` holds the visits before this one."""
        ...


@dataclass(frozen=True, kw_only=True)
class HistoryPrior:
    """The pass rate of earlier visits, mapped to rewards: `low` + (`high` - `low`) p. None before the first visit.

    It lags behind a policy that learns; V0.5's test is there to overrule it.
    """

    name: ClassVar[str] = "history"

    low: float = 0.0
    """Reward of a failure."""
    high: float = 1.0
    """Reward of a success."""
    smoothing: float = 0.0
    """In [0, 1): p is drawn by this share towards 1/2, away from rates of exactly 0 and 1."""

    def __post_init__(self) -> None:
        check_range(self.low, self.high, error=ConfigError)
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"`smoothing` is {self.smoothing}; it is a share in [0, 1), such as 0.05")

    @property
    def needs(self) -> Needs:
        """Pass rates, and rewards within the range that they are mapped to."""
        return Needs(correct=True, range=(self.low, self.high))

    def value(self, prompt_id: str, *, history: PromptStats) -> float | None:
        """The smoothed pass rate in reward units."""
        rate = history.pass_rate(prompt_id)
        if rate is None:
            return None
        return self.low + (self.high - self.low) * (rate + self.smoothing * (0.5 - rate))


@dataclass(frozen=True, kw_only=True)
class ConstantPrior:
    """The same expected reward for every prompt: a poor man's prior, and a way to test how V0.5 overrules a wrong one."""

    name: ClassVar[str] = "constant"

    constant: float
    """Expected reward, in reward units."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.constant):
            raise ConfigError(f"`constant` is {self.constant}; it must be a finite expected reward")

    def value(self, prompt_id: str, *, history: PromptStats) -> float | None:
        """The constant."""
        return self.constant


@dataclass(frozen=True, kw_only=True)
class TablePrior:
    """Success rates from a file, mapped to rewards: `low` + (`high` - `low`) p. None for prompts that it does not hold.

    The file has one JSON object a line, `{"id": "prompt", "p": 0.25}`, with p in [0, 1] and each id once; other keys are passed
    over. It is read when the prior is made; `ConfigError` names the line that cannot be used.
    """

    name: ClassVar[str] = "table"

    path: str
    """The file, UTF-8."""
    low: float = 0.0
    """Reward of a failure."""
    high: float = 1.0
    """Reward of a success."""

    def __post_init__(self) -> None:
        check_range(self.low, self.high, error=ConfigError)
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

    def value(self, prompt_id: str, *, history: PromptStats) -> float | None:
        """The table's success rate in reward units."""
        rate = self.rates.get(prompt_id)
        return None if rate is None else self.low + (self.high - self.low) * rate


PRIORS: dict[str, type[HistoryPrior] | type[ConstantPrior] | type[TablePrior]] = {
    HistoryPrior.name: HistoryPrior,
    ConstantPrior.name: ConstantPrior,
    TablePrior.name: TablePrior,
}
"""Prior by name."""
