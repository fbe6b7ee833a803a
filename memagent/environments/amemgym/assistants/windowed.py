"""An assistant that keeps the last messages verbatim and writes older ones to a memory of its own, by the window's schedule.

With a model, the model writes (`memagent.memory.notes.writer`) and is shown what is published, which knows no budget: a system
message with the memory, the messages of the window, the new message. When it gives nothing usable, or no answer at all, the
memory stays as it is, the failure is counted, and the messages are offered again with the next ones; of those that wait, the
newest `MAX_PENDING` are kept and the loss of others is counted. Without a model rules write, and views are within a budget: the
window, then the memory, as far as it goes; of a sheet that does not fit, the newest lines stay.

With an `Evolution` the model also rewrites what it is told to keep, once a period.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import TypeAdapter

from memagent.environments.amemgym.assistants import snapshot
from memagent.environments.amemgym.assistants.base import BUDGET, Assistant, answer_tokens
from memagent.environments.amemgym.assistants.evolution import Evolution, EvolutionState, Feedback
from memagent.environments.amemgym.assistants.prompts import (
    AmemgymPrompts,
    ExtractionPrompt,
    PromptTemplate,
)
from memagent.environments.amemgym.data import write_json
from memagent.errors import InputError, ModelError
from memagent.memory.notes.consolidation import Fact, NoteSet, NoteState
from memagent.memory.view import ViewLine, joined
from memagent.models.base import ChatModel
from memagent.models.structured import UsageCounter
from memagent.prompts import ChatPrompt
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.embedders.cached import CachedEmbedder
from memagent.retrieval.short_texts import nearest
from memagent.text.facts import facts
from memagent.types import Message, Recall, user_message

MAX_PENDING = 20
"""Messages that could not be written and are offered again."""
EVOLUTION_STATE = "evolution_state.json"


@dataclass(frozen=True)
class Schedule:
    """The published (freq, ns, topk), in messages, messages and memories.

    A finished round joins the window; as soon as that holds `freq` + `local` messages, the oldest `freq` of them move to memory
    writing, once a round. With freq 2 and local 4, the window holds 2, 4, 4, 4... messages and writes from the third round on.
    """

    freq: int = 2
    local: int = 4
    top: int = 30

    def __post_init__(self) -> None:
        if self.freq < 1 or self.local < 0 or self.top < 1:
            raise InputError(f"a schedule has freq 1 or more, local 0 or more and top 1 or more, not {self}")

    def leaving(self, held: int) -> int:
        """How many of so many messages leave the window after a round."""
        return self.freq if held >= self.freq + self.local else 0


class WindowedAssistant(Assistant):
    """A window of messages, and a memory of what left it. `keep` says what a model writes, unless it evolves."""

    intro: ClassVar[str]
    """Stands before the memory in the published prompt."""
    template: ClassVar[PromptTemplate]
    """Of the prompt of writing."""

    def __init__(
        self,
        name: str,
        *,
        schedule: Schedule | None = None,
        model: ChatModel | None = None,
        budget: int = BUDGET,
        embedder: Embedder | None = None,
        keep: ExtractionPrompt | None = None,
        evolution: Evolution | None = None,
    ) -> None:
        super().__init__(name, model=model, budget=budget)
        self.schedule = schedule or Schedule()
        self.verbatim = model is not None
        self.evolution = evolution
        self.prompts = AmemgymPrompts(keep if evolution is None else evolution.prompt)
        self.window: list[Message] = []
        self.notes = NoteSet({})
        self.pending: list[Message] = []
        """Messages that left the window and could not be written yet."""
        self.counts: Counter[str] = Counter()
        """`writes`, `retries` (answers asked for again), `failed_writes`, `lost_messages`, `cut_replies`."""
        self._embedder = None if embedder is None else CachedEmbedder(embedder)

    def prompt(self, text: str) -> ChatPrompt:
        """What is published: the memory in a system message, the window, the text."""
        if not self.verbatim:
            return super().prompt(text)
        head = Message(role="system", content=f"{self.intro}\n\n{self.memories(text)}")
        said = [Message(role=one.role, content=one.content) for one in self.window]
        return ChatPrompt([head, *said, user_message(text)], answer_tokens(self.model))

    def memories(self, prompt: str) -> str:
        return joined(self._shown(prompt))

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        lines = [*snapshot.window_lines(self.window)[::-1], *self._shown(prompt)]
        return self._view(lines, budget, total=len(self.notes.notes) + len(self.window))

    def stored_texts(self) -> list[str]:
        labels = [(one.data.get("label"), one.text) for one in self.notes.notes.values()]
        return [f"{label}: {text}" if label else text for label, text in labels] + [one.text for one in self.window]

    def learn(self, given: Feedback) -> bool:
        """Learn what to keep from a period's questions, once. Returns whether a step was made. Save afterwards."""
        assert self.evolution is not None
        tally = UsageCounter()
        try:
            stepped = self.evolution.learn(given, tally=tally)
        finally:
            self.usage += tally.usage
        self.prompts.keep = self.evolution.prompt
        return stepped

    def save(self, folder: Path) -> None:
        self._save_notes(folder)
        pending = [(snapshot.HistoryMessage.of(one), one.time) for one in self.pending if one.time]
        clock = snapshot.Clock(
            time=self._time,
            session=self._session,
            said=snapshot.times(self.window),
            pending=pending,
            counts=dict(sorted(self.counts.items())),
        )
        snapshot.write_messages(self.window, clock, folder)
        if self.evolution is not None:
            write_json(self.evolution.state().model_dump(mode="json"), folder / EVOLUTION_STATE)

    def load(self, folder: Path) -> None:
        state = None if self.evolution is None else snapshot.read(folder / EVOLUTION_STATE, TypeAdapter(EvolutionState))
        window, clock = snapshot.read_messages(folder)
        self.notes = self._loaded_notes(folder)
        self.notes.edits.clear()
        self.window, self._time, self._session = window, clock.time, clock.session
        self.pending = [said.at(time) for said, time in clock.pending]
        self.counts = Counter(clock.counts)
        if self.evolution is not None and state is not None:
            self.evolution.restore(state)
            self.prompts.keep = self.evolution.prompt

    def _remember(self, said: Message, reply: Message, session: str) -> None:
        held = [*self.window, said, reply]
        leaving = self.schedule.leaving(len(held))
        if leaving:
            self._write([*self.pending, *held[:leaving]])
        self.window = held[leaving:]

    def _write(self, messages: list[Message]) -> None:
        tally = UsageCounter()
        try:
            self._put(messages, tally)
        except ModelError:
            self.counts["failed_writes"] += 1
            self.counts["lost_messages"] += max(0, len(messages) - MAX_PENDING)
            self.pending = messages[-MAX_PENDING:]
        else:
            self.counts["writes"] += 1
            self.pending = []
        finally:
            self.usage += tally.usage
            self.counts["retries"] += tally.retries
            self.notes.edits.clear()

    def _statements(self, messages: Sequence[Message]) -> list[Fact]:
        said = [one for one in messages if one.role == "user"]
        return [Fact(text, 0, message_time(one)) for one in said for text in facts(one.text)]

    def _by_time(self) -> list[tuple[str, NoteState]]:
        """The memory in the order of its changes; equal times keep the order of the list."""
        return sorted(self.notes.notes.items(), key=lambda pair: str(pair[1].data.get("valid_from")))

    def _nearest(self, queries: Sequence[str], texts: Sequence[str], *, most: int) -> list[list[int]]:
        if not texts:
            return [[] for _ in queries]
        vectors = None
        if self._embedder is not None:
            asked = self._embedder.embed(queries, role="query")
            vectors = np.concatenate([self._embedder.embed(texts), asked])
        return nearest(queries, texts, most=most, vectors=vectors)

    @abstractmethod
    def _put(self, messages: Sequence[Message], tally: UsageCounter) -> None:
        """Put messages that left the window into the memory. Raises a `ModelError`, having changed nothing."""

    @abstractmethod
    def _shown(self, prompt: str) -> Sequence[ViewLine]:
        """Lines of the memory for a question, most wanted first."""

    @abstractmethod
    def _save_notes(self, folder: Path) -> None:
        """Write the memory to its file."""

    @abstractmethod
    def _loaded_notes(self, folder: Path) -> NoteSet:
        """The memory of a snapshot. Raises `InputError`."""


def message_time(message: Message) -> datetime:
    """When a message was said. Those of an assistant all have a time."""
    assert message.time is not None
    return message.time
