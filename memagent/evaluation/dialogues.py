"""Talk with questions about it, and the messages that answer each: what search is measured on, from whichever file."""

from __future__ import annotations

from dataclasses import dataclass

from memagent.types import Message


@dataclass(frozen=True)
class DialogueQuestion:
    """A question and the ids of the messages that hold its answer."""

    text: str
    evidence: tuple[str, ...]
    """Only ids that exist; empty where nothing in the dialogue answers."""
    category: str


@dataclass(frozen=True)
class Dialogue:
    """Sessions of messages in order, and questions about them."""

    name: str
    sessions: tuple[tuple[str, tuple[Message, ...]], ...]
    questions: tuple[DialogueQuestion, ...]
