"""A model that is told what to say by kind of call, and an embedder; both keep what they were asked, in one list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from memagent.models.base import Request
from memagent.models.fake import Fake
from memagent.retrieval.embedders.base import Role, Vectors
from memagent.retrieval.embedders.hash import HashEmbedder


class ToldModel(Fake):
    """Says what it is told, in order, for each schema; the last one again and again. Without a schema it says `reply`."""

    def __init__(self, reply: str = "All right.", *, log: list[str] | None = None, **told: Sequence[str]) -> None:
        super().__init__("told")
        self.reply = reply
        self.log: list[str] = [] if log is None else log
        self.requests: dict[str, list[Request]] = defaultdict(list)
        self._told = {name: list(lines) for name, lines in told.items()}

    def _say(self, request: Request) -> str:
        kind = request.schema.__name__ if request.schema else "reply"
        self.requests[kind].append(request)
        self.log.append(kind)
        if kind == "reply":
            return self.reply
        lines = self._told[kind]
        return lines.pop(0) if len(lines) > 1 else lines[0]

    def prompts(self, kind: str) -> list[str]:
        """The last message of each call of a kind."""
        return [request.messages[-1].text for request in self.requests[kind]]


class LoggingEmbedder(HashEmbedder):
    """Hashed words."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log
        self.texts: list[list[str]] = []

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        self.log.append("embed")
        self.texts.append(list(texts))
        return super().embed(texts, role=role)
