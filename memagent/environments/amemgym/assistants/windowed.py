"""Assistants that keep the last messages verbatim and write older ones to a memory of their own, by the window's schedule.

`AweAssistant` keeps statements and shows those nearest to the question, oldest first; `AwiAssistant` keeps a sheet of labels
and values and shows all of it in the order of its changes. Statements are found and placed without a model, by the rules of
`memagent.memory` (`placement`, `sheet`): messages of the user count. A view shows the window, then the memory, as far as
the budget goes; of a sheet that does not fit, the newest lines stay.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np

from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.environments.amemgym.assistants.window import Schedule, moved
from memagent.environments.amemgym.data import write_json
from memagent.memory import placement, sheet
from memagent.memory.lines import Line, clean, day, joined, pack
from memagent.memory.placement import Batch, Fact, Held
from memagent.memory.ranking import Text, Texts, lexical_scores
from memagent.memory.results import Recall, Source
from memagent.messages import Message
from memagent.models.base import ChatModel
from memagent.retrieval.embedder import Embedder
from renderers.reader import ESTIMATE, Budget


class WindowedAssistant(Assistant):
    """A window of messages, and a memory of what left it."""

    def __init__(
        self, name: str, *, schedule: Schedule | None = None, voice: ChatModel | None = None, budget: int = BUDGET
    ) -> None:
        super().__init__(name, voice=voice, budget=budget)
        self.schedule = schedule or Schedule()
        self.window: list[Message] = []
        self.memory = Batch({})
        self._numbers = count(1)

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        """The window, and of the memory what suits the question."""
        allowed = Budget(self.budget if budget is None else budget, ESTIMATE)
        memories = self._shown(prompt)
        newest_first = [_line(one, place) for place, one in enumerate(self.window)][::-1]
        chosen = pack([*newest_first, *memories], allowed)
        view = joined(chosen)
        sources = tuple(line.source for line in sorted(chosen, key=lambda line: line.order))
        left = len(self.memory.notes) + len(self.window) - len(chosen)
        return Recall(
            view=view,
            cost=allowed.reader.count(view),
            budget=allowed.tokens,
            kind=self.name,
            exact=False,
            sources=sources,
            dropped=left,
        )

    def save(self, folder: Path) -> None:
        """Write the memory and the window under their official names."""
        entries = [{**self._entry(held), "timestamp": held.data.get("valid_from")} for held in self.memory.notes.values()]
        write_json(entries, folder / "in_context_memory.json")
        write_json([{"role": one.role, "content": one.text} for one in self.window], folder / "msg_history.json")

    def _take(self, said: Message, reply: Message, session: str) -> None:
        self.window, leaving = moved(self.window, (said, reply), self.schedule)
        for message in leaving:
            if message.role != "user" or message.time is None:
                continue
            number = next(self._numbers)
            for text in placement.facts_in(message.text):
                self._write(Fact(text, number, message.time))
        self.memory.proposals.clear()

    def _by_time(self) -> list[tuple[str, Held]]:
        """The memory in the order of its changes; equal times keep the order of the list."""
        return sorted(self.memory.notes.items(), key=lambda pair: str(pair[1].data.get("valid_from")))

    @abstractmethod
    def _write(self, fact: Fact) -> None:
        """Put a statement into the memory."""

    @abstractmethod
    def _shown(self, prompt: str) -> Sequence[Line]:
        """Lines of the memory for a question, most wanted first."""

    @abstractmethod
    def _entry(self, held: Held) -> dict[str, object]:
        """An entry of the memory as it is saved."""


class AweAssistant(WindowedAssistant):
    """Statements outside of the context, looked up by nearness: by vectors with an embedder, by words without one."""

    def __init__(
        self,
        *,
        embedder: Embedder | None = None,
        schedule: Schedule | None = None,
        voice: ChatModel | None = None,
        budget: int = BUDGET,
    ) -> None:
        super().__init__("awe", schedule=schedule, voice=voice, budget=budget)
        self._embedder = embedder

    def _write(self, fact: Fact) -> None:
        placement.place(self.memory, fact)

    def _shown(self, prompt: str) -> list[Line]:
        held = self._by_time()
        scores = self._scores(prompt, [one.text for _, one in held])
        nearest = np.argsort(-scores, kind="stable")[: self.schedule.top]
        return [_memory(item, f"- {_dated(one)}{clean(one.text)}", int(row)) for row in nearest for item, one in [held[row]]]

    def _scores(self, prompt: str, texts: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        if not texts:
            return np.zeros(0, np.float32)
        if self._embedder is None:
            return lexical_scores(prompt, Texts([Text.of(text) for text in texts]))
        vectors = np.asarray(self._embedder.embed([prompt, *texts]), np.float32)
        return np.asarray(vectors[1:] @ vectors[0], np.float32)

    def _entry(self, held: Held) -> dict[str, object]:
        return {"text": held.text}


class AwiAssistant(WindowedAssistant):
    """A sheet in the context: a known label keeps its place in the list, its new value moves to the end of the view."""

    def __init__(self, *, schedule: Schedule | None = None, voice: ChatModel | None = None, budget: int = BUDGET) -> None:
        super().__init__("awi", schedule=schedule, voice=voice, budget=budget)

    def _write(self, fact: Fact) -> None:
        label, value = sheet.label_of(fact.text)
        sheet.write(self.memory, label, value, [fact])

    def _shown(self, prompt: str) -> list[Line]:
        held = list(enumerate(self._by_time()))[::-1]
        return [_memory(item, f"- {clean(str(one.data.get('label')))}: {clean(one.text)}", row) for row, (item, one) in held]

    def _entry(self, held: Held) -> dict[str, object]:
        return {"label": held.data.get("label"), "value": held.text}


def _memory(item: str, text: str, row: int) -> Line:
    return Line(text, Source(id=item, text=text), (0, row))


def _line(message: Message, place: int) -> Line:
    """A message of the window, after all memories."""
    assert message.time is not None
    said = clean(message.text)
    return Line(f"[{day(message.time)}] {message.role}: {said}", Source(id=f"window {place}", text=said), (1, place))


def _dated(held: Held) -> str:
    since = str(held.data.get("valid_from", ""))
    return f"[{since[:10]}] " if since else ""
