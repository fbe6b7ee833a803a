"""Cipher: every op is a hidden permutation of the ten digits.

`c407=` asks op `c` for the images of 4, 0 and 7; the reply is right when all are. Difficulty is the number of digits L: at
random 10^-L of the replies are right, and a policy that knows a share s of an op's digits is right about s^L of the time. Ops
are skills. Apart, each has a permutation of its own and teaches nothing about the others. With `shared`, op number k applies
one 10-cycle k times over, so that ops share what they have to learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from string import ascii_lowercase
from typing import ClassVar

import numpy as np

from memagent.errors import ConfigError
from memagent_training.tasks.base import DIGITS, END, CharacterFamily, Drawn, refuse_lengths

_SHARED_OPS = 9
"""Powers of a 10-cycle that differ and move every digit."""


@dataclass(frozen=True, kw_only=True)
class Cipher(CharacterFamily):
    """Digits through a hidden substitution."""

    name: ClassVar[str] = "cipher"

    n_ops: int = 8
    """How many ops there are: 1 to 26, with `shared` 1 to 9."""
    min_length: int = 1
    max_length: int = 4
    """Digits of a prompt: uniform from `min_length` to `max_length`, at most 32."""
    shared: bool = False
    """Whether the ops are powers of one permutation."""
    key: int = 0
    """Seed of the hidden permutations. Another key is another language; `seed` of `tasks` only picks prompts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_lengths(self.min_length, self.max_length, most=32)
        most = _SHARED_OPS if self.shared else len(ascii_lowercase)
        if not 1 <= self.n_ops <= most:
            raise ConfigError(f"`n_ops` is {self.n_ops}; give 1 to {most}{' as the ops share a skill' if self.shared else ''}")
        if self.key < 0:
            raise ConfigError(f"`key` is {self.key}; give 0 or more")

    @property
    def answers(self) -> str:
        """The digits."""
        return DIGITS

    @property
    def symbols(self) -> str:
        """Op letters and digits."""
        return ascii_lowercase[: self.n_ops] + DIGITS

    @property
    def max_answer(self) -> int:
        """As many digits as in the prompt."""
        return self.max_length

    @property
    def longest_prompt(self) -> int:
        """Op, digits, `=`."""
        return self.max_length + 2

    @cached_property
    def ops(self) -> dict[str, str]:
        """Op letter to the ten images of the digits 0 to 9. Distinct ops have distinct permutations."""
        rng = np.random.default_rng(self.key)
        images: dict[str, None] = {}
        if self.shared:  # the first powers of a random 10-cycle
            around = rng.permutation(10)
            place = np.argsort(around)  # (10,) where each digit stands on the cycle
            for power in range(1, self.n_ops + 1):
                images["".join(str(around[(place[digit] + power) % 10]) for digit in range(10))] = None
        while len(images) < self.n_ops:
            images["".join(str(digit) for digit in rng.permutation(10))] = None
        return dict(zip(ascii_lowercase[: self.n_ops], images, strict=True))

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Op and length uniform, digits uniform and independent."""
        op = ascii_lowercase[rng.integers(self.n_ops)]
        length = int(rng.integers(self.min_length, self.max_length + 1))
        digits = "".join(str(digit) for digit in rng.integers(10, size=length))
        answer = "".join(self.ops[op][int(digit)] for digit in digits)
        return Drawn(prompt=f"{op}{digits}{END}", answer=answer, skill=op, difficulty=length)
