"""Questions about long texts as tasks: for the objective `memocr`, whose policy drafts a memory of the text and reads it."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from memagent.environments.long_qa.worlds import WorldQuestion, WorldSettings, world_questions
from memagent.errors import ConfigError
from training.tasks.base import Row

FIELDS = "an object with `id`, `question`, `context` and `answers`, a list of one text or more"


@dataclass(frozen=True, kw_only=True)
class LongQuestions:
    """Questions from a file, or about made-up worlds, each told in a text of its own.

    A file has one JSON object a line with `id`, `question`, `context` (the text) and `answers` (any of them is right).
    """

    name: ClassVar[str] = "long_qa"
    alphabet: ClassVar[str] = string.printable

    data: str | None = None
    """A file in place of made-up worlds; relative to where the program runs."""
    hops: tuple[int, ...] = (1, 2, 3)
    facts: int = 18
    """Of a made-up world, evidence included."""
    sentence_chars: int = 120

    def __post_init__(self) -> None:
        self._shape()

    def tasks(self, n: int, *, seed: int) -> list[Row]:
        """The first `n` questions; of a file, all when there are fewer. Raises `ConfigError` for a line that cannot be used."""
        if self.data is not None:
            return _read(Path(self.data))[:n]
        return [_told(one) for one in world_questions(n, split="train", seed=seed, settings=self._shape())]

    def _shape(self) -> WorldSettings:
        return WorldSettings(facts=self.facts, hops=tuple(self.hops), sentence_chars=self.sentence_chars)


def _told(question: WorldQuestion) -> Row:
    """A world as documents of one fact each, in the form of the published contexts (memocr.md, 3.6)."""
    context = "\n\n".join(f"Document {number}:\n{one.subject}\n{one.sentence}" for number, one in enumerate(question.facts, 1))
    return {"id": question.id, "question": question.text, "context": context, "answers": [question.answer]}


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        raise ConfigError(f"there is no task file `{path}`; each of its lines is {FIELDS}")
    return [_row(line, f"`{path}`, line {number}") for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)]


def _row(line: str, place: str) -> Row:
    try:
        row = json.loads(line)
        answers = row["answers"]
        if not isinstance(answers, list) or not answers:
            raise TypeError("`answers` is no list of texts")
        texts = {key: str(row[key]) for key in ("id", "question", "context")}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place}: {error!r}; it must be {FIELDS}") from error
    return {**texts, "answers": [str(one) for one in answers]}
