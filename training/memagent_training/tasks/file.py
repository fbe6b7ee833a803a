"""Questions of a file: asked as they are, answered in a box, judged by the published form of self-verification."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from memagent_training.objectives.boxed import BoxedAnswers
from memagent_training.objectives.self_verify import NaturalLanguage
from memagent_training.tasks.base import Form, Row, json_rows


@dataclass(frozen=True, kw_only=True)
class FileTasks(BoxedAnswers, NaturalLanguage):
    """A JSON-lines file with `id`, `prompt` and `answer`; replies are boxed answers."""

    name: ClassVar[str] = "file"
    form: ClassVar[Form] = "prompts"
    alphabet: ClassVar[str] = ""
    """Any character: too many for a tiny policy."""
    path: str
    """Of the training tasks; relative to where the program runs."""

    def tasks(self, n: int, *, seed: int) -> list[Row]:
        """All rows of the file, whatever `n` and `seed`. Raises `ConfigError` with the line that cannot be used."""
        return json_rows(
            Path(self.path),
            lambda row: {key: str(row[key]) for key in ("id", "prompt", "answer")},
            wanted="an object with id, prompt and answer",
        )
