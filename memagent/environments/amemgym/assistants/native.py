"""The native assistant: a model that is shown the whole conversation at each call, and nothing else.

A history that has a limit loses its oldest rounds, whole ones, when it grows beyond; `dropped` counts their messages. The
limit is one of the history: the message to reply to and the answer come on top.
"""

from __future__ import annotations

from pathlib import Path

from memagent.environments.amemgym.assistants.base import BUDGET, Assistant, answer_tokens
from memagent.environments.amemgym.assistants.snapshot import Clock, read_messages, times, window_lines, write_messages
from memagent.errors import InputError
from memagent.models.base import ChatModel
from memagent.prompts import ChatPrompt
from memagent.types import Message, Recall, user_message
from memagent_renderers.budget import ESTIMATE


class NativeAssistant(Assistant):
    """Keeps everything said as it was said, up to `limit` tokens and `messages` messages; None is no limit."""

    verbatim = True

    def __init__(
        self,
        *,
        name: str = "native",
        model: ChatModel | None = None,
        budget: int = BUDGET,
        limit: int | None = None,
        messages: int | None = None,
    ) -> None:
        super().__init__(name, model=model, budget=budget)
        if min(1 if limit is None else limit, 1 if messages is None else messages) < 1:
            raise InputError(f"a history holds 1 token and 1 message or more, or has no limit, not {limit} and {messages}")
        self.limit, self.messages = limit, messages
        self.history: list[Message] = []
        self.dropped = 0
        """Messages that the limit cost."""

    def prompt(self, text: str) -> ChatPrompt:
        said = [Message(role=one.role, content=one.content) for one in self.history]
        return ChatPrompt([*said, user_message(text)], answer_tokens(self.model))

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        return self._view(window_lines(self.history)[::-1], budget, total=len(self.history))

    def stored_texts(self) -> list[str]:
        return [one.text for one in self.history]

    def save(self, folder: Path) -> None:
        clock = Clock(time=self._time, session=self._session, said=times(self.history), counts={"dropped": self.dropped})
        write_messages(self.history, clock, folder)

    def load(self, folder: Path) -> None:
        self.history, clock = read_messages(folder)
        self.dropped = clock.counts.get("dropped", 0)
        self._time, self._session = clock.time, clock.session

    def _remember(self, said: Message, reply: Message, session: str) -> None:
        self.history += [said, reply]
        count = (ESTIMATE if self.model is None else self.model.reader).count
        most = len(self.history) if self.messages is None else self.messages
        while self.history and (
            len(self.history) > most or (self.limit is not None and sum(count(one.text) for one in self.history) > self.limit)
        ):
            self.history = self.history[2:]
            self.dropped += 2
