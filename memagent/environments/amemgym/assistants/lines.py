"""Lines of the views of assistants that keep a window of messages."""

from __future__ import annotations

from collections.abc import Sequence

from memagent.memory.lines import Line, clean, day
from memagent.memory.results import Source
from memagent.messages import Message


def window_lines(messages: Sequence[Message]) -> list[Line]:
    """Messages of a window, which stands after all memories."""
    return [_line(one, place) for place, one in enumerate(messages)]


def memory_line(item: str, text: str, row: int) -> Line:
    """A memory, at its place among the memories."""
    return Line(text, Source(id=item, text=text), (0, row))


def _line(message: Message, place: int) -> Line:
    assert message.time is not None
    said = clean(message.text)
    return Line(f"[{day(message.time)}] {message.role}: {said}", Source(id=f"window {place}", text=said), (1, place))
