"""Notes kept by a model: a batch of messages in, changes of the notes out.

What is asked and how is the prompt set's (`memagent.memory.notes.prompts`). An answer that is not of the form asked for, or
names what was not shown, goes back to the model with the reason (`memagent.models.structured`). Nothing is changed before the
last call has succeeded, so a failed batch leaves the notes as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        found = [fact for fact in self._asked(self.prompts.extract(conversation), tally) if wanted(fact)]
        if not found:
            return
        items = list(notes.notes)
        texts = [notes.notes[item].text for item in items]
        rows = {row for near in nearest([fact[0].text for fact in found], texts) for row in near}
        shown = {items[row]: texts[row] for row in (sorted(rows) if len(items) > NEIGHBOURS else range(len(items)))}
        facts: Mapping[str, Sequence[Fact]] = {f"f{number}": fact for number, fact in enumerate(found, 1)}
        for change in self._asked(self.prompts.update(facts, shown), tally):
            self._apply(notes, change)

    def write_lines(self, notes: NoteSet, conversation: Conversation, *, tally: UsageCounter | None = None) -> None:
        """Fill in the lines of a sheet, in one call. Raises as `write_facts` does."""
        sheet = {str(held.data.get("label")): held.text for held in notes.notes.values()}
        for line in self._asked(self.prompts.fill(sheet, conversation), tally):
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
