"""When an assistant writes to its memory: the last messages stay verbatim, older ones move on in blocks.

A finished round joins the window; as soon as that holds `freq` + `local` messages, the oldest `freq` of them move to memory
writing, once a round. With freq 2 and local 4, the window holds 2, 4, 4, 4... messages and writes from the third round on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from memagent.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Schedule:
    """The published (freq, ns, topk), in messages, messages and memories."""

    freq: int = 2
    local: int = 4
    top: int = 30

    def __post_init__(self) -> None:
        if self.freq < 1 or self.local < 0 or self.top < 1:
            raise InputError(f"a schedule has freq 1 or more, local 0 or more and top 1 or more, not {self}")


def moved(window: Sequence[T], said: Sequence[T], schedule: Schedule) -> tuple[list[T], list[T]]:
    """The window after a round, and the messages that leave it to be written."""
    held = [*window, *said]
    if len(held) < schedule.freq + schedule.local:
        return held, []
    return held[schedule.freq :], held[: schedule.freq]
