"""What all assistants share: a model to reply with, the time of what is said, and questions that leave no trace.

An assistant replies (`act`) and remembers the round, or is given a round that another one had (`add`). Questions of the
evaluation read only: `recall` gives the view of its memory for a question, `prompt` what the model is shown with it, and
neither changes what is remembered. Without a model it acknowledges whatever it is told, and only its views can be evaluated.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from memagent.errors import ConfigError
from memagent.memory.view import ViewLine, pack, text_recall
from memagent.models.base import ChatModel
from memagent.prompts import ChatPrompt, compose
from memagent.types import Message, Recall, Usage, user_message
from memagent_renderers.budget import ESTIMATE, Budget

ACKNOWLEDGED = "Noted, thank you for telling me."
BUDGET = 1024
ANSWER_TOKENS = 8192
SMALL_ANSWER_TOKENS = 96
"""Of a small model, which does not come to an end by itself."""
_TIME = re.compile(r"\A\[Current Time: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\]\n")
_BETWEEN_MESSAGES = timedelta(seconds=30)
"""Within a session, whose first message alone says its time."""


def answer_tokens(model: ChatModel | None) -> int:
    """Most tokens of an answer, fewer of a small model."""
    return SMALL_ANSWER_TOKENS if model is not None and model.small else ANSWER_TOKENS


class Assistant(ABC):
    """An assistant with a memory. `budget` is what a view may cost when nobody says."""

    verbatim = False
    """Whether it keeps the line with the time at the head of a first message as a part of what was said."""

    def __init__(self, name: str, *, model: ChatModel | None = None, budget: int = BUDGET) -> None:
        self.name = name
        self.model = model
        self.budget = budget
        self.usage = Usage()
        """Of replies, and of writing by a model."""
        self._time = datetime(1970, 1, 1, tzinfo=UTC)
        self._session = "before"

    def act(self, text: str) -> str:
        reply = ACKNOWLEDGED if self.model is None else self.answer(text)
        self.add(text, reply)
        return reply

    def add(self, text: str, reply: str) -> None:
        """Remember a round. The time at the head of a first message becomes the time of the messages."""
        found = _TIME.match(text)
        if found is not None:
            self._session = found[1]
            self._time = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
        said = text if found is None or self.verbatim else text[found.end() :]
        self._remember(self._message("user", said), self._message("assistant", reply), self._session)

    def prompt(self, text: str) -> ChatPrompt:
        """What the model is shown to reply to a text: the view of the memory with it."""
        shown = self.recall(text)
        return compose(None, shown, (), user_message(text), now=self._time, max_tokens=answer_tokens(self.model))

    def answer(self, text: str) -> str:
        """What the model says to a text, which is not remembered. Raises `ConfigError` without a model."""
        if self.model is None:
            raise ConfigError(f"the assistant {self.name} has no model to answer with; give it one, or read its views")
        prompt = self.prompt(text)
        reply = self.model.generate(prompt.messages, max_tokens=prompt.max_tokens)
        self.usage += reply.usage
        return reply.text

    def consolidate(self) -> None:
        """Do now what would otherwise slow down reading: called after the conversations of a period."""
        return None

    @abstractmethod
    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        """The view of its memory for a question."""

    def stored_texts(self) -> list[str]:
        """Everything that is remembered, for the analysis of what a view left out."""
        return []

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Save what is remembered to a folder, which is made."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Go on from what was saved. Raises `InputError` when the folder does not hold it."""

    @abstractmethod
    def _remember(self, said: Message, reply: Message, session: str) -> None:
        """Remember a round."""

    def _view(self, ranked: Sequence[ViewLine], budget: int | None, *, total: int) -> Recall:
        """The text view that the first of `ranked` make within the budget, of `total` pieces in all."""
        allowed = Budget(self.budget if budget is None else budget, ESTIMATE)
        chosen = pack(ranked, allowed)
        return text_recall(chosen, allowed, kind=self.name, dropped=total - len(chosen))

    def _message(self, role: str, text: str) -> Message:
        now, self._time = self._time, self._time + _BETWEEN_MESSAGES
        return Message.model_validate({"role": role, "content": text, "time": now})
