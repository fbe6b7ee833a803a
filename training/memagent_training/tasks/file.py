"""Questions of a file: asked as they are, answered in a box, judged by the published form of self-verification."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from memagent.errors import ConfigError
from memagent_training.objectives.boxed import BoxedAnswers
from memagent_training.objectives.self_verify import NaturalLanguage
from memagent_training.tasks.base import Form, Row


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
        path = Path(self.path)
        if not path.is_file():
            raise ConfigError(f"there is no task file `{path}`; it holds one JSON object a line with id, prompt and answer")
        rows: list[Row] = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                rows.append({key: str(row[key]) for key in ("id", "prompt", "answer")})
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"`{path}`, line {number}: {error!r}; it must be an object with id, prompt and answer"
                ) from error
        return rows
