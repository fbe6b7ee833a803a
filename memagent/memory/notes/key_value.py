"""A sheet of facts, label and value, that a reader sees whole (AMemGym's AWI assistants).

A known label gets its new value and nothing is ever deleted. Values that were overwritten stay in the history with their time.
A model names the lines that are new or changed (`memagent.memory.notes.writer`). Without one each fact becomes a line, and a
value is overwritten only where one cannot have both (`memagent.text.attributes`); else the new line's label gets a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from memagent.memory.notes.consolidation import Fact, NoteSet, told_before
from memagent.memory.notes.prompts import LABEL_CHARACTERS
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


def put(notes: NoteSet, fact: Fact) -> None:
    """Put a fact into the sheet without a model."""
    label, value = label_of(fact.text)
    new = attributes.meaning(fact.text)
    lines = {str(held.data.get("label")): item for item, held in notes.notes.items() if held.speaker == fact.speaker}
    alike = {item: name for name, item in lines.items() if re.fullmatch(rf"{re.escape(label)}(?: \d+)?", name)}
    for item in alike:
        old = notes.notes[item]
        if clean(old.text).casefold() == clean(value).casefold():
            return notes.repeat(item, [fact], "said again")
        known = None if new.attribute is None else replace(new.attribute, value=old.text)
        if known is not None and fact.in_earnest and not told_before(fact, old) and attributes.ends(new, known):
            return notes.revise(item, clean(value), [fact], "another value", ended=True, keep=False)
    names = [label, *(f"{label} {number}" for number in range(2, len(alike) + 2))]
    notes.add(clean(value), [fact], "new label", label=next(name for name in names if name not in lines))
    return None


def label_of(text: str) -> tuple[str, str]:
    """Label and value of a fact, without a model: its attribute, else its first words and all of it."""
    found = attributes.meaning(text).attribute
    if found is not None:
        return found.slot[:LABEL_CHARACTERS], found.value
    content = attributes.folded(text)
    told = [word for word in text.split() if attributes.folded(word) & content]
    label = " ".join(word.strip(".,;:!?\"'()").lower() for word in told[:_LABEL_WORDS])
    return (label or "note")[:LABEL_CHARACTERS], text


def _key(label: str) -> str:
    return " ".join(sorted(words(label))) or label
