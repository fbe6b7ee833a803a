"""Messages and their times in a snapshot: `msg_history.json` as the released evaluator writes it, and our `clock.json`.

The official file has roles and texts alone; when something was said, and where the assistant's own clock stands, is in the
second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter

from memagent.environments.amemgym.data import read_file, write_json
from memagent.errors import InputError
from memagent.memory.view import ViewLine, clean, day
from memagent.types import Message, Source

HISTORY = "msg_history.json"
CLOCK = "clock.json"
T = TypeVar("T")


class HistoryMessage(BaseModel):
    """A message as the official file has it."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str

    @classmethod
    def of(cls, message: Message) -> HistoryMessage:
        return cls(role="user" if message.role == "user" else "assistant", content=message.text)

    def at(self, time: datetime) -> Message:
        return Message(role=self.role, content=self.content, time=time)


class Clock(BaseModel):
    """Where the time stands, and when the kept messages were said."""

    model_config = ConfigDict(extra="forbid")

    time: AwareDatetime
    session: str
    said: list[AwareDatetime] = []
    pending: list[tuple[HistoryMessage, AwareDatetime]] = []
    """Messages that left the window and are not written yet."""
    counts: dict[str, int] = {}


_HISTORY = TypeAdapter(list[HistoryMessage])
_CLOCK = TypeAdapter(Clock)


def write_messages(messages: Sequence[Message], clock: Clock, folder: Path) -> None:
    write_json([HistoryMessage.of(one).model_dump() for one in messages], folder / HISTORY)
    write_clock(clock, folder)


def write_clock(clock: Clock, folder: Path) -> None:
    write_json(clock.model_dump(mode="json"), folder / CLOCK)


def read_clock(folder: Path) -> Clock:
    """Read the time. Raises `InputError`."""
    return read(folder / CLOCK, _CLOCK)


def read_messages(folder: Path) -> tuple[list[Message], Clock]:
    """Read both files. Raises `InputError`."""
    said = read(folder / HISTORY, _HISTORY)
    clock = read_clock(folder)
    if len(said) != len(clock.said):
        raise InputError(f"{folder / HISTORY} has {len(said)} messages, {CLOCK} the times of {len(clock.said)}")
    return [one.at(time) for one, time in zip(said, clock.said, strict=True)], clock


def read(file: Path, form: TypeAdapter[T]) -> T:
    """A file of a snapshot. Raises `InputError` naming it."""
    return read_file(file, form, "snapshot of this kind of assistant")


def times(messages: Sequence[Message]) -> list[datetime]:
    """When messages were said. Those of an assistant all have a time."""
    return [one.time for one in messages if one.time is not None]


def window_lines(messages: Sequence[Message]) -> list[ViewLine]:
    """Messages as lines of a view, which stand after all memories."""
    lines = []
    for place, (message, time) in enumerate(zip(messages, times(messages), strict=True)):
        said = clean(message.text)
        lines.append(ViewLine(f"[{day(time)}] {message.role}: {said}", Source(id=f"window {place}", text=said), (1, place)))
    return lines
