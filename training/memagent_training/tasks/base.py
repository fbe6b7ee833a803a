"""What a family of laptop tasks is, and what its members share: short texts that a checker can mark.

A family is made for character-level policies: every character of `alphabet` is a token, a prompt ends with `=`, an answer
ends where the policy writes its end marker, which is no character of the family. Which split a prompt is in depends on the
prompt alone, so train and test share no prompt, whatever the seeds. Rows are drawn independently: in a small family one may
come twice, with the same `id`.

Verification asks `{answer}?{prompt}` and wants the policy's own answer followed by `Y` or `N`. The own answer (re-derivation)
stands behind the same text as in the task itself, so that whoever learns to verify practises answering; without it
(`rederive=False`) nothing is shared (arXiv 2602.07594 trains both on one policy for this reason).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from memagent.errors import ConfigError, InputError

Row = dict[str, object]
"""`id`, `prompt`, `answer`, `skill` (str) and `difficulty` (int)."""
Split = Literal["train", "test"]
Form = Literal["characters", "prompts", "users", "long_text"]
"""What rows hold, which decides the objectives that can do them: `characters`, rows of a `CharacterFamily`; `prompts`: `id`,
`prompt` and `answer`; `users`: the `id` of one, with a world for each; `long_text`: `id`, `question`, `context`, `answers`."""

END = "="
"""Last character of every prompt."""
JUDGE = "?"
"""Stands between the judged answer and the prompt."""
VERDICTS = {"Y": "Yes", "N": "No"}
DIGITS = "0123456789"

_MISSES = 10_000
"""Draws in a row that may fall into the other split before a family is found too small."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a checker says of a reply."""

    answer: str | None
    """The answer found in the reply; None when there is none."""
    correct: bool
    valid: bool
    """False when the reply is malformed."""


class Drawn(NamedTuple):
    """One task before it gets its id."""

    prompt: str
    answer: str
    skill: str
    difficulty: int


@dataclass(frozen=True, kw_only=True)
class CharacterFamily(ABC):
    """What the members share; a member says what is drawn and which characters an answer may hold."""

    name: ClassVar[str]
    form: ClassVar[Form] = "characters"

    rederive: bool = True
    """Whether a verification reply must hold the policy's own answer before the verdict."""
    test_share: float = 0.2
    """Share of all prompts that belong to the test split, in [0, 1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.test_share < 1:
            raise ConfigError(f"`test_share` is {self.test_share}; give a share of prompts from 0 to below 1")

    @property
    @abstractmethod
    def answers(self) -> str:
        """The characters that answers are made of, each once."""

    @property
    @abstractmethod
    def max_answer(self) -> int:
        """Characters of the longest answer."""

    @property
    @abstractmethod
    def longest_prompt(self) -> int:
        """Characters of the longest prompt of a task."""

    @property
    @abstractmethod
    def symbols(self) -> str:
        """The characters of prompts, in any order."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Drawn:
        """One task of either split."""

    @property
    def alphabet(self) -> str:
        """Every character that prompts, answers and verifications hold, each once, sorted."""
        return "".join(sorted({*self.symbols, *self.answers, *VERDICTS, END, JUDGE}))

    @property
    def max_prompt(self) -> int:
        """Characters of the longest prompt, verification prompts included."""
        return self.max_answer + len(JUDGE) + self.longest_prompt

    @property
    def max_verdict(self) -> int:
        """Characters of the longest reply to a verification prompt."""
        return self.max_answer + 1 if self.rederive else 1

    def tasks(self, n: int, *, seed: int, split: Split = "train") -> list[Row]:
        """`n` rows drawn independently from one split.

        Raises `InputError` for a negative `n` or seed, an unknown split, and a split in which this family has no prompt.
        """
        if n < 0 or seed < 0 or split not in ("train", "test"):
            raise InputError(f"got n={n}, seed={seed}, split `{split}`; give n and seed of 0 or more, split `train` or `test`")
        rng = np.random.default_rng([seed, split == "test"])
        rows: list[Row] = []
        misses = 0
        while len(rows) < n:
            drawn = self.draw(rng)
            if self.split_of(drawn.prompt) == split:
                rows.append({"id": f"{self.name}/{drawn.prompt}", **drawn._asdict()})
                misses = 0
                continue
            misses += 1
            if misses == _MISSES:
                raise InputError(
                    f"{_MISSES} prompts drawn, none in split `{split}`: the family is too small or `test_share` "
                    f"({self.test_share}) too extreme; allow longer prompts or change `test_share`"
                )
        return rows

    def check(self, task: Mapping[str, object], text: str) -> Check:
        """Exact match; a reply is valid when it is made of 1 to `max_answer` answer characters."""
        text = text.strip()
        valid = 0 < len(text) <= self.max_answer and set(text) <= set(self.answers)
        return Check(answer=text if valid else None, correct=valid and text == task["answer"], valid=valid)

    def chance(self, task: Mapping[str, object]) -> float:
        """|answers| to the power of minus the length of the answer."""
        return float(len(self.answers)) ** -len(str(task["answer"]))

    def verification(self, task: Mapping[str, object], answer: str) -> str:
        """The judged answer, `?`, the prompt."""
        return f"{answer}{JUDGE}{task['prompt']}"

    def verdict(self, text: str) -> str | None:
        """The verdict that ends a reply; None unless its own answer (only with `rederive`) and no more stands before it."""
        text = text.strip()
        own, verdict = text[:-1], text[-1:]
        well_formed = 0 < len(own) <= self.max_answer and set(own) <= set(self.answers) if self.rederive else not own
        return VERDICTS.get(verdict) if well_formed else None

    def split_of(self, prompt: str) -> Split:
        """By a hash of the prompt, so that neither seeds nor Python's hash randomisation move it."""
        place = int.from_bytes(blake2b(prompt.encode(), digest_size=8).digest(), "big") / 2**64
        return "test" if place < self.test_share else "train"


def json_rows(path: Path, read: Callable[[dict[str, Any]], Row], *, wanted: str) -> list[Row]:
    """What `read` makes of each line of a JSON-lines file; `wanted` says what a line holds.

    Raises `ConfigError` for a file that is not there, and with the number of a line that cannot be used.
    """
    if not path.is_file():
        raise ConfigError(f"there is no task file `{path}`; each of its lines is {wanted}")
    rows: list[Row] = []
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")  # `splitlines` would cut within texts, at U+2028 and others
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(read(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"`{path}`, line {number}: {error!r}; it must be {wanted}") from error
    return rows


def refuse_lengths(shortest: int, longest: int, *, most: int) -> None:
    """Raise `ConfigError` unless 1 <= shortest <= longest <= most."""
    if not 1 <= shortest <= longest <= most:
        raise ConfigError(f"lengths go from {shortest} to {longest}; give 1 <= min_length <= max_length <= {most}")
