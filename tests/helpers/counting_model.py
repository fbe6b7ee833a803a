"""A fake that counts its calls and how many of them ran at once."""

from __future__ import annotations

import threading
import time

from memagent.models.base import ChatModel, Request
from memagent.models.fake import Fake
from memagent.types import user_message


class Counting(Fake):
    """Answers with what it was asked, after a while, and counts; raises what it is given first."""

    def __init__(self, *, delay: float = 0.0, errors: tuple[Exception, ...] = ()) -> None:
        super().__init__("counting")
        self.calls, self.most = 0, 0
        self._delay, self._errors = delay, list(errors)
        self._at_once, self._guard = 0, threading.Lock()

    def _say(self, request: Request) -> str:
        with self._guard:
            self.calls += 1
            self._at_once += 1
            self.most = max(self.most, self._at_once)
            error = self._errors.pop(0) if self._errors else None
        time.sleep(self._delay)
        with self._guard:
            self._at_once -= 1
        if error is not None:
            raise error
        return f"{request.messages[-1].text}!"


def ask(model: ChatModel, text: str) -> str:
    return model.generate([user_message(text)]).text
