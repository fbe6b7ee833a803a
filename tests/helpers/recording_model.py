"""A scripted model that keeps what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from memagent.models.base import Request
from memagent.models.scripted import ScriptedModel


class RecordingModel(ScriptedModel):
    """Keeps what it was asked."""

    def __init__(self, script: Sequence[str]) -> None:
        super().__init__(script)
        self.requests: list[Request] = []

    def _say(self, request: Request) -> str:
        self.requests.append(request)
        return super()._say(request)

    @property
    def prompts(self) -> list[str]:
        """The text of each prompt."""
        return [request.messages[0].text for request in self.requests]

    def between(self, tag: str) -> list[str]:
        """What stood in a tag of each prompt."""
        return [prompt.partition(f"<{tag}>\n")[2].partition(f"\n</{tag}>")[0] for prompt in self.prompts]
