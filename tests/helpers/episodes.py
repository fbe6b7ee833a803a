"""Episodes of objectives, answered by a function."""

from __future__ import annotations

from collections.abc import Callable

from memagent.models.base import Reply
from memagent_training.objectives.base import Episode, EpisodeResult, PolicyRequest, WorkItem


def played(loop: Episode, say: Callable[[PolicyRequest], str]) -> tuple[list[PolicyRequest], EpisodeResult]:
    """What was asked, and how it ended."""
    asked: list[PolicyRequest] = []
    try:
        request = next(loop)
        while True:
            while isinstance(request, WorkItem):
                try:
                    result = request.function(*request.args)
                except Exception as error:
                    request = loop.throw(error)
                else:
                    request = loop.send(result)
            assert isinstance(request, PolicyRequest)
            asked.append(request)
            request = loop.send(Reply(text=say(request)))
    except StopIteration as end:
        ended: EpisodeResult = end.value
        return asked, ended
