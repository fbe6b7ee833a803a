"""`ScriptedModel`: a model that says what a script tells it to, for tests of everything that drives a model."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memagent.errors import ConfigError, ModelError
from memagent.models.base import Request
from memagent.models.fake import Fake


@dataclass(frozen=True)
class _Line:
    """One reply; with `match` it answers whenever that is found in the prompt."""

    text: str
    match: re.Pattern[str] | None = None


class ScriptedModel(Fake):
    """Says what it is told: a list, or a JSONL file, of replies.

    A line is a text, `{"text": ...}`, or `{"match": REGEX, "text": ...}`. Lines with `match` answer every request in
    whose prompt the expression is found, as often as it is asked; the other lines answer once each, in order. When
    they have run out the model raises `ModelError`. It accepts pictures and charges for them.
    """

    def __init__(self, script: str | os.PathLike[str] | Iterable[str | Mapping[str, str]], *, chunk_delay: float = 0.0) -> None:
        if isinstance(script, str | os.PathLike):
            file = os.fspath(script)
            self._source, name, entries = f"`{file}`", f"scripted:{file}", _read(Path(file))
        else:
            self._source, name, entries = "of replies", "scripted", list(script)
        super().__init__(name, sees_images=True, chunk_delay=chunk_delay)
        lines = [_line(entry, f"line {number} of the script {self._source}") for number, entry in enumerate(entries, 1)]
        self._matching = [line for line in lines if line.match]
        self._ordered = [line for line in lines if not line.match]
        self._used = 0
        self._turn = threading.Lock()

    def _say(self, request: Request) -> str:
        prompt = "\n".join(message.text for message in request.messages)
        for line in self._matching:
            if line.match and line.match.search(prompt):
                return line.text
        with self._turn:
            if self._used >= len(self._ordered):
                raise ModelError(f"the script {self._source} has run out after {len(self._ordered)} replies in order")
            self._used += 1
            return self._ordered[self._used - 1].text


def _read(file: Path) -> Sequence[object]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the script `{file}` cannot be read: {error}") from error
    entries: list[object] = []
    for number, line in enumerate(lines, 1):
        try:
            entries += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise ConfigError(f"line {number} of the script `{file}` is not JSON: {line[:80]!r}") from error
    return entries


def _line(entry: object, where: str) -> _Line:
    if isinstance(entry, str):
        return _Line(entry)
    if isinstance(entry, Mapping) and isinstance(entry.get("text"), str) and entry.keys() <= {"text", "match"}:
        match = entry.get("match")
        try:
            return _Line(entry["text"], re.compile(match) if match is not None else None)
        except (re.error, TypeError) as error:
            raise ConfigError(f"{where} has a `match` that is no regular expression: {match!r}") from error
    raise ConfigError(f'{where} is neither a text nor {{"text": ...}} nor {{"match": ..., "text": ...}}: {entry!r:.80}')
