"""What puts messages that left the window into a memory, without a model: as they were said, or by rules for statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from memagent.memory import placement, sheet
from memagent.memory.placement import Batch, Fact
from memagent.messages import Message
from memagent.models.asking import Tally

PREFIXES = {"user": "USER INPUT: ", "assistant": "ASSISTANT RESPONSE: "}


class Writer(Protocol):
    """Writes messages into a memory."""

    verbatim: bool
    """Whether it wants openings with the line that tells the time. Assistants with such a writer show their voice the published
    prompt; others show it a view within their budget."""

    def write(self, memory: Batch, messages: Sequence[Message], *, tally: Tally) -> None:
        """Write messages, all of which have a time. Raises `MalformedOutput`, having changed nothing."""
        ...


class AsSaid:
    """Every message becomes a memory of its own, with a word on who said it."""

    verbatim = True

    def write(self, memory: Batch, messages: Sequence[Message], *, tally: Tally) -> None:
        """Keep the messages."""
        for one in messages:
            memory.add(PREFIXES[one.role] + one.text, [said_in(one)], "said")


class ByRule:
    """Statements of the user, found by rules; `put` takes each to its place."""

    verbatim = False

    def __init__(self, put: Callable[[Batch, Fact], None]) -> None:
        self._put = put
        self._numbers = count(1)

    def write(self, memory: Batch, messages: Sequence[Message], *, tally: Tally) -> None:
        """Find the statements and put them into the memory."""
        for one in messages:
            if one.role != "user" or one.time is None:
                continue
            number = next(self._numbers)
            for text in placement.facts_in(one.text):
                self._put(memory, Fact(text, number, one.time))


def put_statement(memory: Batch, fact: Fact) -> None:
    """Among statements."""
    placement.place(memory, fact)


def put_line(memory: Batch, fact: Fact) -> None:
    """Into a sheet."""
    label, value = sheet.label_of(fact.text)
    sheet.write(memory, label, value, [fact])


def said_in(message: Message) -> Fact:
    """A message as the source of a memory, with the time that the memory gets."""
    assert message.time is not None
    return Fact(message.text, 0, message.time)
