"""What puts messages that left the window into a memory, without a model: as they were said, or by rules for statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from memagent.memory.notes import consolidation, key_value
from memagent.memory.notes.consolidation import Fact, NoteSet
from memagent.models.structured import UsageCounter
from memagent.types import Message

PREFIXES = {"user": "USER INPUT: ", "assistant": "ASSISTANT RESPONSE: "}


class Writer(Protocol):
    """Writes messages into a memory."""

    verbatim: bool
    """Whether it wants openings with the line that tells the time. Assistants with such a writer show their model the published
    prompt; others show it a view within their budget."""

    def write(self, memory: NoteSet, messages: Sequence[Message], *, tally: UsageCounter) -> None:
        """Write messages, all of which have a time. Raises `MalformedOutput`, having changed nothing."""
        ...


class AsSaid:
    """Every message becomes a memory of its own, with a word on who said it."""

    verbatim = True

    def write(self, memory: NoteSet, messages: Sequence[Message], *, tally: UsageCounter) -> None:
        """Keep the messages."""
        for one in messages:
            memory.add(PREFIXES[one.role] + one.text, [said_in(one)], "said")


class ByRule:
    """Statements of the user, found by rules; `put` takes each to its place."""

    verbatim = False

    def __init__(self, put: Callable[[NoteSet, Fact], None]) -> None:
        self._put = put
        self._numbers = count(1)

    def write(self, memory: NoteSet, messages: Sequence[Message], *, tally: UsageCounter) -> None:
        """Find the statements and put them into the memory."""
        for one in messages:
            if one.role != "user" or one.time is None:
                continue
            number = next(self._numbers)
            for text in consolidation.facts_in(one.text):
                self._put(memory, Fact(text, number, one.time))


def put_statement(memory: NoteSet, fact: Fact) -> None:
    """Among statements."""
    consolidation.consolidate(memory, fact)


def put_line(memory: NoteSet, fact: Fact) -> None:
    """Into a sheet."""
    label, value = key_value.label_of(fact.text)
    key_value.write(memory, label, value, [fact])


def said_in(message: Message) -> Fact:
    """A message as the source of a memory, with the time that the memory gets."""
    assert message.time is not None
    return Fact(message.text, 0, message.time)
