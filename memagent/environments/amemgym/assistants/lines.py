"""Lines of the views of assistants that keep a window of messages."""

from __future__ import annotations

from collections.abc import Sequence

from memagent.memory.view import ViewLine, clean, day
from memagent.types import Message, Source


def window_lines(messages: Sequence[Message]) -> list[ViewLine]:
    """Messages of a window, which stands after all memories."""
    return [_line(one, place) for place, one in enumerate(messages)]


def memory_line(item: str, text: str, row: int) -> ViewLine:
    """A memory, at its place among the memories."""
    return ViewLine(text, Source(id=item, text=text), (0, row))


def _line(message: Message, place: int) -> ViewLine:
    assert message.time is not None
    said = clean(message.text)
    return ViewLine(f"[{day(message.time)}] {message.role}: {said}", Source(id=f"window {place}", text=said), (1, place))
