"""Arithmetic modulo m: `9+7=` asks for one character, the residue.

Residues are single characters, `0` to `9` and then `a` to `z`, so an answer is one token and a random one is right 1/m of the
time, however many operands there are. Difficulty is the number of operands: more of them make a task harder to learn, not to
guess. Operators are skills; a prompt has one operator throughout and is worked from left to right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from string import ascii_lowercase
from typing import ClassVar

import numpy as np

from memagent.errors import ConfigError
from memagent_training.tasks.base import DIGITS, END, CharacterFamily, Drawn

RESIDUES = DIGITS + ascii_lowercase
"""The number r is written as character r of these."""
OPERATORS: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "+": ("add", lambda a, b: a + b),
    "-": ("subtract", lambda a, b: a - b),
    "*": ("multiply", lambda a, b: a * b),
}
MAX_OPERANDS = 8


@dataclass(frozen=True, kw_only=True)
class Arithmetic(CharacterFamily):
    """Sums, differences and products modulo m."""

    name: ClassVar[str] = "arithmetic"

    modulus: int = 13
    """m, 2 to 36."""
    min_operands: int = 2
    max_operands: int = 2
    """Operands of a prompt: uniform from `min_operands` to `max_operands`, 2 to 8."""
    operators: str = "+"
    """Which of `+`, `-`, `*` are asked, each once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.modulus <= len(RESIDUES):
            raise ConfigError(f"`modulus` is {self.modulus}; give 2 to {len(RESIDUES)}")
        if not 2 <= self.min_operands <= self.max_operands <= MAX_OPERANDS:
            raise ConfigError(
                f"operands go from {self.min_operands} to {self.max_operands}; "
                f"give 2 <= min_operands <= max_operands <= {MAX_OPERANDS}"
            )
        if not self.operators or len(set(self.operators)) < len(self.operators) or not set(self.operators) <= set(OPERATORS):
            raise ConfigError(f"`operators` is `{self.operators}`; give some of {' '.join(OPERATORS)}, each once")

    @property
    def answers(self) -> str:
        """The residues."""
        return RESIDUES[: self.modulus]

    @property
    def symbols(self) -> str:
        """Residues and operators."""
        return self.answers + self.operators

    @property
    def max_answer(self) -> int:
        """One residue."""
        return 1

    @property
    def longest_prompt(self) -> int:
        """Operands, operators between them, `=`."""
        return 2 * self.max_operands

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Operator, number of operands and operands uniform and independent."""
        operator = self.operators[rng.integers(len(self.operators))]
        count = int(rng.integers(self.min_operands, self.max_operands + 1))
        operands = [int(value) for value in rng.integers(self.modulus, size=count)]
        skill, work = OPERATORS[operator]
        return Drawn(
            prompt=operator.join(RESIDUES[value] for value in operands) + END,
            answer=RESIDUES[reduce(work, operands) % self.modulus],
            skill=skill,
            difficulty=count,
        )
