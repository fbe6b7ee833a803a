"""Strings: copy, reverse, sort, first letter, last letter, count of the first letter.

`Rabca=` asks for `acba`. Ops are skills and difficulty is the length L of the string. Answers are made of the letters (and of
digits where `count` is among the ops); with A such characters a random answer is right A^-L of the time for copy, reverse and
sort, and 1/A for first, last and count, whose difficulty is to be learned, not to be guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import ClassVar

import numpy as np

from memagent.errors import ConfigError
from memagent_training.tasks.base import DIGITS, END, CharacterFamily, Drawn, refuse_lengths

OPS: dict[str, tuple[str, Callable[[str], str]]] = {
    "copy": ("C", lambda text: text),
    "reverse": ("R", lambda text: text[::-1]),
    "sort": ("S", lambda text: "".join(sorted(text))),
    "first": ("F", lambda text: text[0]),
    "last": ("L", lambda text: text[-1]),
    "count": ("K", lambda text: str(text.count(text[0]))),
}
"""Name of an op to its character in prompts and what it does."""
_WHOLE = ("copy", "reverse", "sort")


@dataclass(frozen=True, kw_only=True)
class Strings(CharacterFamily):
    """Short strings, rearranged or asked about."""

    name: ClassVar[str] = "strings"

    ops: Sequence[str] = tuple(OPS)
    """Which ops are asked, each once."""
    letters: int = 4
    """Strings are made of the first so many small letters, 2 to 26."""
    min_length: int = 1
    max_length: int = 4
    """Letters of a string: uniform from `min_length` to `max_length`, at most 32, with `count` at most 9."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ops or len(set(self.ops)) < len(self.ops) or not set(self.ops) <= set(OPS):
            raise ConfigError(f"`ops` is {list(self.ops)}; give some of {', '.join(OPS)}, each once")
        if not 2 <= self.letters <= len(ascii_lowercase):
            raise ConfigError(f"`letters` is {self.letters}; give 2 to {len(ascii_lowercase)}")
        refuse_lengths(self.min_length, self.max_length, most=9 if "count" in self.ops else 32)

    @property
    def answers(self) -> str:
        """The letters, and the digits where `count` is asked."""
        return ascii_lowercase[: self.letters] + (DIGITS if "count" in self.ops else "")

    @property
    def symbols(self) -> str:
        """Op characters and letters."""
        return "".join(OPS[op][0] for op in self.ops) + ascii_lowercase[: self.letters]

    @property
    def max_answer(self) -> int:
        """The whole string, or one character where only that is asked."""
        return self.max_length if set(self.ops) & set(_WHOLE) else 1

    @property
    def longest_prompt(self) -> int:
        """Op, string, `=`."""
        return self.max_length + 2

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Op and length uniform, letters uniform and independent."""
        op = self.ops[int(rng.integers(len(self.ops)))]
        length = int(rng.integers(self.min_length, self.max_length + 1))
        text = "".join(ascii_lowercase[letter] for letter in rng.integers(self.letters, size=length))
        symbol, work = OPS[op]
        return Drawn(prompt=f"{symbol}{text}{END}", answer=work(text), skill=op, difficulty=length)
