"""Where the value that a wrong answer needed was lost on its way to the reader, and why MemOCR is behind where it is.

The answer probe is asked three times about each required variable: does what was read show its present value, does the page
(all words that were set on it, however small), does anything that the memory keeps? Where the first no is said, it was lost:

- `failed`: the view could not be made.
- `illegible`: it stands on the page, too small for the eye.
- `left_out`: the memory keeps it; it was not found for the question, or had no room.
- `not_kept`: nothing that the memory keeps shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from memagent.environments.amemgym.assistants import Assistant, MemoryAssistant, WindowedAssistant
from memagent.environments.amemgym.data import Question
from memagent.environments.amemgym.rule_reader import RuleBasedReader

if TYPE_CHECKING:
    from memagent_renderers.budget import Picture

REASONS = ("failed", "illegible", "left_out", "not_kept")


@dataclass(frozen=True)
class ReaderInput:
    """What a reader got: the text that was read, and the picture it was read from, if any."""

    read: str
    picture: Picture | None = None
    shown: int = 0
    """Pieces of the memory in the view."""
    dropped: int = 0
    """Pieces left out of it."""

    @property
    def page(self) -> str:
        """All words of the view, also those too small to be read."""
        return self.read if self.picture is None else "\n".join(line.text for line in self.picture.lines)


@dataclass(frozen=True)
class MissingValue:
    """A required value that did not reach the reader of a question."""

    period: int
    question: int
    variable: str
    reason: str
    older: bool
    """Whether the view shows a value that the user no longer has."""
    size: float | None = None
    """Smallest type of the page in px, where it was illegible."""
    shown: int = 0
    """Pieces of the memory in the view."""
    pieces: int = 0
    """Pieces that the memory had to choose from."""


class StoredValues:
    """The values that all of what an assistant keeps after a period would show."""

    def __init__(self, reader: RuleBasedReader, assistant: Assistant | None, period: int) -> None:
        self._reader, self._assistant, self._period = reader, assistant, period

    @cached_property
    def values(self) -> Mapping[str, str]:
        """By variable; those of which nothing is kept are not there."""
        text = "\n".join(_held(self._assistant))
        return self._reader.values(text, list(self._reader.item.state_schema), period=self._period)


def _held(assistant: Assistant | None) -> list[str]:
    if isinstance(assistant, MemoryAssistant):
        return [f"{one.label}: {one.text}" if one.label else one.text for one in assistant.memory.items()]
    if isinstance(assistant, WindowedAssistant):
        notes = assistant.memory.notes.values()
        written = [f"{one.data['label']}: {one.text}" if "label" in one.data else one.text for one in notes]
        return written + [one.text for one in assistant.window]
    return []


def missing_values(
    reader: RuleBasedReader, question: Question, place: tuple[int, int], view: ReaderInput | None, kept: StoredValues
) -> list[MissingValue]:
    """What of a question's values did not reach the reader; `place` is its period and number."""
    period, number = place
    state, needed = reader.item.periods[period].state, question.required_info
    if view is None:
        return [MissingValue(period, number, name, "failed", older=False) for name in needed]
    read = reader.values(view.read, needed, period=period)
    page = read if view.picture is None else reader.values(view.page, needed, period=period)
    return [
        _loss(
            view,
            name,
            (period, number),
            read.get(name),
            on_page=page.get(name) == state[name],
            kept=kept.values.get(name) == state[name],
        )
        for name in needed
        if read.get(name) != state[name]
    ]


def _loss(view: ReaderInput, name: str, place: tuple[int, int], read: str | None, *, on_page: bool, kept: bool) -> MissingValue:
    illegible = on_page and view.picture is not None
    return MissingValue(
        *place,
        name,
        "illegible" if illegible else "left_out" if kept else "not_kept",
        older=read is not None,
        size=min(line.size for line in view.picture.lines) if illegible and view.picture is not None else None,
        shown=view.shown,
        pieces=view.shown + view.dropped,
    )


# -- where MemOCR stands ----------------------------------------------------------------------------------------------


def counted(found: Sequence[MissingValue]) -> dict[str, int]:
    """Losses by reason, those that occur; `older_shown` counts, across reasons, where a value of before was in view."""
    reasons = Counter(one.reason for one in found)
    older = sum(one.older for one in found)
    return {**{name: reasons[name] for name in REASONS if reasons[name]}, **({"older_shown": older} if older else {})}


def summarize(found: Sequence[MissingValue]) -> str:
    """Losses by reason as part of a sentence."""
    counts = Counter(one.reason for one in found)
    size = median([one.size for one in found if one.size is not None] or [0.0])
    left = [one for one in found if one.reason == "left_out"]
    shown, pieces = (median([getattr(one, name) for one in left] or [0]) for name in ("shown", "pieces"))
    said = {
        "failed": "of a view that could not be made",
        "illegible": f"on the page but not legible (its smallest type is {size:g} px)",
        "left_out": f"kept, but the page shows {shown:g} of {pieces:g} lines (medians), those likest to the question",
        "not_kept": "not kept at all",
    }
    parts = [f"{counts[name]} {text}" for name, text in said.items() if counts[name]]
    older = sum(one.older for one in found)
    return f"{len(found)} values: {', '.join(parts)}" + (f"; for {older} of them an older value is read" if older else "")
