"""Notes kept by a model: a batch of messages in, changes of the notes out.

What is asked and how is the prompt set's (`memagent.memory.notes.prompts`). An answer that is not of the form asked for, or
names what was not shown, goes back to the model with the reason (`memagent.models.structured`). Nothing is changed before the
last call has succeeded, so a failed batch leaves the notes as they were.

What a model says is held against what was said. A fact that stands on nothing in the conversation is no note, and the message
stays in the view as it is. A note that shares nothing with a fact is neither repeated, rewritten nor ended by it, and a note is
not rewritten without the names and numbers in it unless the model says that it ended: then the fact is a note of its own. A
prompt set that is to be taken to the letter is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from memagent.memory.notes import key_value
from memagent.memory.notes.consolidation import Fact, NoteSet
from memagent.memory.notes.prompts import Change, CitingPrompts, Conversation, NotePrompts, Question
from memagent.memory.view import clean
from memagent.models.base import ChatModel
from memagent.models.structured import UsageCounter, ask_json
from memagent.text import attributes
from memagent.types import user_message

R = TypeVar("R")
_ANYBODY = attributes.folded("user person people assistant speaker someone")
"""Says of nobody who it is."""
_TELLING = 3
"""Content words from which a message tells by itself what it is about."""
NEIGHBOURS = 5
"""Notes shown to the model for each fact."""
Nearest = Callable[[Sequence[str], Sequence[str]], list[list[int]]]
"""For each fact, the places of the `NEIGHBOURS` nearest among the texts of the notes."""


class NoteWriter:
    """Changes a `NoteSet` as a model says."""

    def __init__(self, model: ChatModel, prompts: NotePrompts | None = None) -> None:
        self.model = model
        self.prompts = prompts or CitingPrompts()

    def write_facts(
        self,
        notes: NoteSet,
        conversation: Conversation,
        *,
        nearest: Nearest,
        wanted: Callable[[Sequence[Fact]], bool] = bool,
        tally: UsageCounter | None = None,
    ) -> None:
        """Find facts, look up the notes nearest to each, and do what the model says about them: two calls, one without facts.

        `wanted` says of each fact, as its messages tell it, whether it is to be written at all. Raises `MalformedOutput` and
        what the model raises, having changed nothing.
        """
        shown = [one.text for one in conversation.messages.values()]
        told = {one.seq: one.text for one in conversation.told.values()}

        def holds(fact: Sequence[Fact]) -> bool:
            return self.prompts.literal or grounded(fact[0].text, [told[one.seq] for one in fact], shown)

        found = [fact for fact in self._asked(self.prompts.extract(conversation), tally) if wanted(fact) and holds(fact)]
        if not found:
            return
        items = list(notes.notes)
        texts = [notes.notes[item].text for item in items]
        rows = {row for near in nearest([fact[0].text for fact in found], texts) for row in near}
        rows = set(range(len(items))) if len(items) <= NEIGHBOURS else rows
        near = {f"n{number}": items[row] for number, row in enumerate(sorted(rows), 1)}
        facts: Mapping[str, Sequence[Fact]] = {f"f{number}": fact for number, fact in enumerate(found, 1)}
        question = self.prompts.update(facts, {name: notes.notes[item].text for name, item in near.items()})
        for asked in self._asked(question, tally):
            change = replace(asked, note=near.get(asked.note or ""))
            self._apply(notes, change if self.prompts.literal else _checked(change, notes, shown))

    def write_lines(self, notes: NoteSet, conversation: Conversation, *, tally: UsageCounter | None = None) -> None:
        """Fill in the lines of a sheet, in one call. Raises as `write_facts` does."""
        sheet = {str(held.data.get("label")): held.text for held in notes.notes.values()}
        shown = [one.text for one in conversation.messages.values()]
        for line in self._asked(self.prompts.fill(sheet, conversation), tally):
            if self.prompts.literal or grounded(line.value, shown, shown, label=line.label):
                key_value.write(notes, line.label, line.value, line.facts, literal=self.prompts.literal)

    def _asked(self, question: Question[R], tally: UsageCounter | None) -> R:
        read: list[R] = []

        def check(answer: Any) -> None:
            read.append(question.read(answer))

        of = self.prompts
        most = of.small_answer_tokens if self.model.small else of.answer_tokens
        messages = [user_message(question.prompt)]
        ask_json(self.model, messages, question.schema, check=check, tries=of.tries, max_tokens=most, tally=tally)
        return read[-1]

    def _apply(self, notes: NoteSet, change: Change) -> None:
        text, item, literal = clean(change.text), change.note, self.prompts.literal
        if change.action == "ADD":
            same = next((name for name, held in notes.notes.items() if held.text.casefold() == text.casefold()), None)
            if same is None or literal:
                notes.add(text, change.facts, change.reason or "stated")
            else:
                notes.repeat(same, change.facts, "said again")
        elif item is None:
            return
        elif change.action == "DELETE":
            notes.close(item, change.facts, change.reason or "no longer so")
        elif change.action == "NONE" or (notes.notes[item].text == text and not literal):
            notes.repeat(item, change.facts, change.reason or "said again")
        else:
            before, after = attributes.meaning(notes.notes[item].text), attributes.meaning(text)
            ended = change.ended or attributes.replaces(after, before)
            notes.revise(item, text, change.facts, change.reason or "stated anew", ended=ended, keep=not ended)


def grounded(text: str, cited: Iterable[str], shown: Iterable[str], *, label: str = "") -> bool:
    """Whether a fact, or with a `label` a value, stands on what was said.

    It has letters; half of its content words stand in the messages `shown`; and it shares one with the messages `cited` for it,
    or with the others where these are too short to tell ("Yes, every day").
    """
    said, told, around = _content(text), _content(*cited), _content(*shown)
    about = bool(said & told) or len(told) < _TELLING
    return re.search(r"[^\W\d_]", label + text) is not None and bool(said) and about and 2 * len(said & around) >= len(said)


def _checked(change: Change, notes: NoteSet, shown: Sequence[str]) -> Change:
    """The change that follows from what a model decided, so far as it is borne out."""
    told = [one.text for one in change.facts]
    alone = replace(change, action="ADD", note=None, text=told[0], ended=False)
    if change.action == "ADD":
        return change if grounded(change.text, told, [*shown, *told]) else alone
    if change.note is None:
        same = (item for item, held in notes.notes.items() if grounded(told[0], [held.text], [held.text]))
        return replace(change, note=item) if (item := next(same, None)) is not None else alone
    note = notes.notes[change.note].text
    if not _content(note) & _content(*told) and not any(
        attributes.corrects(attributes.meaning(one), attributes.meaning(note)) for one in told
    ):
        return alone
    if change.action == "UPDATE":
        kept = (
            change.ended
            or _marked(note) <= _marked(change.text)
            or attributes.replaces(attributes.meaning(change.text), attributes.meaning(note))
        )
        return change if kept and grounded(change.text, told, [*shown, *told, note]) else alone
    return change


def _content(*texts: str) -> frozenset[str]:
    return frozenset(term for text in texts for term in attributes.folded(text)) - _ANYBODY


def _marked(text: str) -> frozenset[str]:
    """Names and numbers."""
    return frozenset(re.findall(r"[^\W_]*\d[^\W_]*|(?<=\w )[^\W\d_a-z][^\W_]+", text))
