"""What all assistants share: a model, the time of what is said, and questions that leave no trace.

An assistant replies (`act`) and remembers the round, or is told of a round that another one had (`add`). Questions of the
evaluation read only: `recall` gives the view of its memory for a question, `prompt` what the model is shown with it, `answer`
what the model replies, and none of them changes what is remembered. Without a model it acknowledges whatever it hears, and
only views can be evaluated.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from pathlib import Path

from memagent.errors import ConfigError
from memagent.models.base import ChatModel
from memagent.prompts import Prompt, compose
from memagent.types import Message, Recall, Usage, user_message

ACKNOWLEDGED = "Noted, thank you for telling me."
BUDGET = 1024
ANSWER_TOKENS = 8192
SMALL_ANSWER_TOKENS = 96
"""Of a small model, which does not come to an end by itself."""
_TIME = re.compile(r"\A\[Current Time: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\]\n")
_LATER = timedelta(seconds=30)
"""Between two messages of a session, whose opening alone says its time."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Assistant(ABC):
    """An assistant with a memory. `budget` is what a view may cost when nobody says."""

    verbatim = False
    """Whether it keeps the line with the time at the head of an opening as a part of what was said."""

    def __init__(self, name: str, *, model: ChatModel | None = None, budget: int = BUDGET) -> None:
        self.name = name
        self.model = model
        self.budget = budget
        self.usage = Usage()
        """Of the model, and of writing by a model."""
        self._time = _BEGINNING
        self._session = "before"

    def act(self, text: str) -> str:
        """Reply to a message of the user and remember both."""
        reply = ACKNOWLEDGED if self.model is None else self._say(self.model, text)
        self.add(text, reply)
        return reply

    def add(self, text: str, reply: str) -> None:
        """Remember a round. The time at the head of an opening becomes the time of the messages."""
        found = _TIME.match(text)
        if found is not None:
            self._session = found[1]
            self._time = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
        heard = text if found is None or self.verbatim else text[found.end() :]
        said = Message(role="user", content=heard, time=self._tick())
        self._take(said, Message(role="assistant", content=reply, time=self._tick()), self._session)

    def prompt(self, text: str) -> Prompt:
        """What the model is shown to reply to a text: the view of the memory with it. Changes nothing."""
        return compose(None, self.recall(text), (), user_message(text), max_tokens=self._most)

    def answer(self, prompt: str) -> str:
        """What the model answers from the view. Raises `ConfigError` without a model."""
        if self.model is None:
            raise ConfigError(f"the assistant {self.name} has no model to answer with; give it a model, or read its views")
        return self._say(self.model, prompt)

    def settle(self) -> None:
        """Do now what would otherwise slow down reading: called after the conversations of a period."""
        return None

    @abstractmethod
    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        """The view of its memory for a question. Changes nothing."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Save what is remembered to a folder, which is made."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Go on from what was saved. Raises `InputError` when the folder does not hold it."""

    @abstractmethod
    def _take(self, said: Message, reply: Message, session: str) -> None:
        """Remember a round."""

    @property
    def _most(self) -> int:
        """Tokens of an answer."""
        return SMALL_ANSWER_TOKENS if self.model is not None and self.model.small else ANSWER_TOKENS

    def _say(self, model: ChatModel, text: str) -> str:
        prompt = self.prompt(text)
        answer = model.generate(prompt.messages, max_tokens=prompt.max_tokens, stop=prompt.stop)
        self.usage += answer.usage
        return answer.text

    def _tick(self) -> datetime:
        now, self._time = self._time, self._time + _LATER
        return now
