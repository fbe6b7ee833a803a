"""An assistant that keeps a table of values found by rule: a yardstick for runs and tests, no memory of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.environments.amemgym.data import write_json
from memagent.errors import InputError
from memagent.memory.view import ViewLine, pack, text_recall
from memagent.types import Message, Recall, Source
from memagent_renderers.budget import ESTIMATE, Budget

_FILE = "values.json"


class KeywordAssistant(Assistant):
    """Keeps the last value of each variable that `extract` finds in what the user says, and shows the newest that fit."""

    def __init__(self, extract: Callable[[str], Mapping[str, str]], *, budget: int = BUDGET) -> None:
        super().__init__("keyword", budget=budget)
        self._extract = extract
        self.values: dict[str, str] = {}
        """By variable, the one that was set last at the end."""

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        """The values, a line each."""
        allowed = Budget(self.budget if budget is None else budget, ESTIMATE)
        lines = [_line(place, name, value) for place, (name, value) in enumerate(self.values.items())]
        chosen = pack(lines[::-1], allowed)
        dropped = len(lines) - len(chosen)
        return text_recall(chosen, allowed, kind=self.name, dropped=dropped)

    def save(self, folder: Path) -> None:
        """Write the values."""
        write_json(self.values, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Go on from what was saved. Raises `InputError` when the folder does not hold it."""
        try:
            self.values = dict(json.loads((folder / _FILE).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{folder} holds no values of a keyword assistant: {error}") from error

    def _take(self, said: Message, reply: Message, session: str) -> None:
        for name, value in self._extract(said.text).items():
            self.values.pop(name, None)
            self.values[name] = value


def _line(place: int, name: str, value: str) -> ViewLine:
    text = f"{name}: {value}"
    return ViewLine(text, Source(id=name, text=text), (0, place))
