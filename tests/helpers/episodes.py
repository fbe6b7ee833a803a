"""Episodes of objectives, answered by a function."""

from __future__ import annotations

from collections.abc import Callable

from memagent.memory.memocr.loops import Loop
from memagent.models.base import Reply
from memagent_training.objectives.base import EpisodeResult, PolicyRequest


def played(loop: Loop[EpisodeResult], say: Callable[[PolicyRequest], str]) -> tuple[list[PolicyRequest], EpisodeResult]:
    """What was asked, and how it ended."""
    asked: list[PolicyRequest] = []
    try:
        request = next(loop)
        while True:
            assert isinstance(request, PolicyRequest)
            asked.append(request)
            request = loop.send(Reply(text=say(request)))
    except StopIteration as end:
        result: EpisodeResult = end.value
        return asked, result
