"""A sheet of facts, label and value, that a reader sees whole (AMemGym's AWI assistants).

A known label gets its new value and nothing is ever deleted. Values that were overwritten stay in the history with their time.
A model names the lines that are new or changed (`memagent.memory.notes.writer`); without one, each statement becomes a line.
"""

from __future__ import annotations

from collections.abc import Sequence

from memagent.memory.notes.consolidation import Fact, NoteSet
from memagent.memory.notes.prompts import LABEL_CHARACTERS, VALUE_CHARACTERS
from memagent.memory.view import clean
from memagent.text import attributes
from memagent.text.tokens import words

_LABEL_WORDS = 3


def write(notes: NoteSet, label: str, value: str, facts: Sequence[Fact], *, literal: bool = False) -> None:
    """Put one line into the sheet; the value of a known label is overwritten.

    Labels are the same when their words are, and a value that is said again leaves the line as it is; with `literal`, labels
    are the same letter by letter, and a value that is said again is written again, with its new time.
    """
    label, value = clean(label), clean(value)
    key = str if literal else _key
    item = {key(str(held.data.get("label", ""))): item for item, held in notes.notes.items()}.get(key(label))
    if item is None:
        notes.add(value, facts, "new label", label=label)
    elif notes.notes[item].text == value and not literal:
        notes.repeat(item, facts, "said again")
    else:
        notes.revise(item, value, facts, "another value", ended=True, keep=True)


def label_of(text: str) -> tuple[str, str]:
    """Label and value of a fact, without a model: its attribute, else its first words and all of it."""
    found = attributes.meaning(text).attribute
    if found is not None:
        return found.slot[:LABEL_CHARACTERS], found.value[:VALUE_CHARACTERS]
    content = attributes.folded(text)
    told = [word for word in text.split() if attributes.folded(word) & content]
    label = " ".join(word.strip(".,;:!?\"'()").lower() for word in told[:_LABEL_WORDS])
    return (label or "note")[:LABEL_CHARACTERS], text[:VALUE_CHARACTERS]


def _key(label: str) -> str:
    return " ".join(sorted(words(label))) or label
