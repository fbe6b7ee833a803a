"""Where the value that a wrong answer needed was lost on its way to the reader, and why MemOCR is behind where it is.

The rule-based reader is asked three times about each required variable: does what was read show its present value, does the
page (all words that were set on it, however small), does anything that the memory stores? Where the first no is said, it was
lost:

- `failed`: the view could not be made.
- `illegible`: it stands on the page, too small for the eye.
- `left_out`: the memory stores it; it was not found for the question, or had no room.
- `not_kept`: nothing that the memory stores shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from memagent.environments.amemgym.assistants.base import Assistant
from memagent.environments.amemgym.data import UserQuestion
from memagent.environments.amemgym.rule_reader import RuleBasedReader
from memagent.environments.amemgym.scoring.metrics import Accuracies, Cells, Pool, pooled_rows

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
    """The values that all of what an assistant stores after a period would show."""

    def __init__(self, reader: RuleBasedReader, assistant: Assistant, period: int) -> None:
        self._reader, self._assistant, self._period = reader, assistant, period

    @cached_property
    def values(self) -> Mapping[str, str]:
        """By variable; those of which nothing is stored are not there."""
        text = "\n".join(self._assistant.stored_texts())
        return self._reader.values(text, list(self._reader.item.state_schema), period=self._period)


def missing_values(
    reader: RuleBasedReader, question: UserQuestion, place: tuple[int, int], view: ReaderInput | None, stored: StoredValues
) -> list[MissingValue]:
    """Which of a question's values did not reach the reader; `place` is its period and number."""
    period, needed = place[0], question.required_info
    state = reader.item.periods[period].state
    if view is None:
        return [MissingValue(*place, name, "failed", older=False) for name in needed]
    read = reader.values(view.read, needed, period=period)
    page = read if view.picture is None else reader.values(view.page, needed, period=period)
    found = []
    for name in needed:
        if read.get(name) == state[name]:
            continue
        kept = stored.values.get(name) == state[name]
        reason, size = "left_out" if kept else "not_kept", None
        if view.picture is not None and page.get(name) == state[name]:
            reason, size = "illegible", min(line.size for line in view.picture.lines)
        pieces = view.shown + view.dropped
        found.append(MissingValue(*place, name, reason, older=name in read, size=size, shown=view.shown, pieces=pieces))
    return found


def count_reasons(found: Sequence[MissingValue]) -> dict[str, int]:
    """Missing values by reason, those that occur; `older_shown` counts, across reasons, where an older value was in view."""
    reasons = Counter(one.reason for one in found)
    older = sum(one.older for one in found)
    return {**{name: reasons[name] for name in REASONS if reasons[name]}, **({"older_shown": older} if older else {})}


# -- one memory against the others ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MethodResult:
    """What a method made of all users."""

    accuracy: Accuracies
    missing: Sequence[Sequence[MissingValue]]
    """By user."""


def compare_to_best(results: Mapping[str, MethodResult], *, seed: int = 0) -> dict[str, object] | None:
    """How MemOCR compares with the best of the others, and why it lost what another has; None without rivals.

    `lead` is the difference of mean accuracies, with a 95 % interval over users. `behind_in` lists the periods in which some
    other method is better. `lost` counts its missing values in the answers that another one gives better.
    """
    method = "memocr"
    rivals = {name: one for name, one in results.items() if name != method}
    if method not in results or not rivals:
        return None
    own = results[method]
    means = {name: pooled_rows(name, "accuracy", one.accuracy)[-1].value for name, one in results.items()}
    best = max(rivals, key=lambda name: means[name])
    lead = pooled_rows(method, "lead", _differences(own.accuracy, rivals[best].accuracy), seed=seed)[-1]
    curves = {name: Pool.of(one.accuracy).curve() for name, one in results.items()}
    behind = [p for p, value in enumerate(curves[method]) if any(curves[name][p] > value + 1e-9 for name in rivals)]
    better = {
        (u, p, q)
        for one in rivals.values()
        for u, user in enumerate(_differences(own.accuracy, one.accuracy))
        for p, row in enumerate(user)
        for q, difference in enumerate(row)
        if difference is not None and difference < -1e-9
    }
    lost = [one for u, found in enumerate(own.missing) for one in found if (u, one.period, one.question) in better]
    answers = sum(len(row) for user in own.accuracy for row in user)
    guessed = sum(all(one.accuracy[u][p][q] != 1.0 for one in rivals.values()) for u, p, q in better)
    interval = "" if lead.low is None or lead.high is None else f" (95 % {lead.low:+.3f} to {lead.high:+.3f})"
    ahead = f"{method} {'leads' if lead.value > 0 else 'is behind'} by {abs(lead.value):.3f}"
    said = [
        f"{method} {means[method]:.3f}, the best other memory ({best}) {means[best]:.3f}: "
        f"{'level' if abs(lead.value) < 1e-9 else ahead}{interval}."
    ]
    if not better:
        said.append("No other memory answers any question better.")
    else:
        if behind:
            said.append(f"Another memory is ahead in the periods {', '.join(map(str, behind))}.")
        by_guess = f" ({guessed} of them by the odds of a guess, without knowing)" if guessed else ""
        said.append(
            f"Another memory answers {len(better)} of {answers} questions better{by_guess}; there {method} lacks "
            f"{_summarize(lost)}."
        )
    return {
        "best_other": best,
        "lead": {"value": lead.value, "low": lead.low, "high": lead.high},
        "behind_in": behind,
        "answers": answers,
        "better_elsewhere": len(better),
        "of_these_guessed": guessed,
        "lost": count_reasons(lost),
        "text": " ".join(said),
    }


def _differences(some: Cells, others: Cells) -> Accuracies:
    return [
        [[None if a is None or b is None else a - b for a, b in zip(*rows, strict=True)] for rows in zip(*users, strict=True)]
        for users in zip(some, others, strict=True)
    ]


def _summarize(found: Sequence[MissingValue]) -> str:
    counts = Counter(one.reason for one in found)
    size = median([one.size for one in found if one.size is not None] or [0.0])
    left = [one for one in found if one.reason == "left_out"]
    shown, pieces = median([one.shown for one in left] or [0]), median([one.pieces for one in left] or [0])
    said = {
        "failed": "of a view that could not be made",
        "illegible": f"on the page but not legible (its smallest type is {size:g} px)",
        "left_out": f"kept, but the page shows {shown:g} of {pieces:g} lines (medians), those likest to the question",
        "not_kept": "not kept at all",
    }
    parts = [f"{counts[name]} {text}" for name, text in said.items() if counts[name]]
    older = sum(one.older for one in found)
    return f"{len(found)} values: {', '.join(parts)}" + (f"; for {older} of them an older value is read" if older else "")
