"""What the verbs of a memory return. All are immutable and dump to JSON with `.model_dump()`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from memagent.usage import Usage
from renderers.reader import Picture


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class Outcome(_Result):
    """What became of one thing handed to a memory."""

    id: str
    action: Literal["added", "merged", "superseded", "removed", "restored", "skipped"]
    reason: str = ""


class Receipt(_Result):
    """Proof of a write: made after the commit, so that everything it names survives a crash."""

    outcomes: tuple[Outcome, ...]
    seq: int
    """Place of the store's log at which these writes are contained."""
    usage: Usage = Usage()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order of what was handed in."""
        return tuple(outcome.id for outcome in self.outcomes)


class Item(_Result):
    """One thing a memory holds: a message, a note, a line of a sheet."""

    id: str
    text: str
    kind: Literal["message", "note", "draft"]
    role: str | None = None
    speaker: str | None = None
    session: str | None = None
    time: datetime
    """When it was said; for a note, when it was last changed."""
    origin: str
    """said, added, imported, partial (an answer that was interrupted); for notes distilled or user."""
    label: str | None = None
    """The label of a note on a sheet."""
    tier: str | None = None
    """The importance that a drafter gave it."""
    valid_from: datetime | None = None
    """For notes: since when this holds, as far as known."""
    valid_to: datetime | None = None
    """For notes: until when this held; None while it holds."""
    sources: tuple[str, ...] = ()
    """Ids of the messages it rests on."""


class Found(_Result):
    """A search hit."""

    item: Item
    score: float


class Source(_Result):
    """A piece of a recalled view and where it comes from."""

    id: str
    """The item shown."""
    messages: tuple[str, ...] = ()
    """Ids of the messages behind it."""
    score: float | None = None
    """Why it was chosen, higher is better; None where nothing was ranked."""
    text: str = ""
    """What was shown of it."""


class Recall(_Result):
    """A view of the memory for one question, within a budget."""

    view: str | Picture
    cost: int
    """Tokens of the view by the budget's reader: text tokens, or visual tokens of a picture. Never above `budget`."""
    budget: int
    kind: str
    """Kind of memory that made it."""
    exact: bool
    """Whether `cost` was counted by the reader's own tokenizer or price list."""
    sources: tuple[Source, ...] = ()
    dropped: int = 0
    """Live items that are not in the view."""
    usage: Usage = Usage()
    """What making the view cost beyond reading it."""

    @property
    def text(self) -> str | None:
        """The view if it is text, else None."""
        return self.view if isinstance(self.view, str) else None

    @property
    def picture(self) -> Picture | None:
        """The view if it is a picture, else None."""
        return None if isinstance(self.view, str) else self.view


class Change(_Result):
    """One entry of an item's history."""

    id: str
    action: str
    at: datetime
    text: str | None = None
    """The text from then on; None where it was removed."""
    reason: str = ""
    origin: str = ""
    session: str | None = None


class Flushed(_Result):
    """What a flush did."""

    processed: int = 0
    """Messages distilled, or passages embedded."""
    outcomes: tuple[Outcome, ...] = ()
    usage: Usage = Usage()


class Finding(_Result):
    """Something an audit noticed."""

    id: str
    problem: Literal["duplicate", "empty", "very long", "instruction", "no longer valid", "unembedded"]
    detail: str


class Stats(_Result):
    """How large a memory is."""

    kind: str
    user: str
    messages: int
    forgotten: int
    sessions: int
    notes: int = 0
    pending: int = 0
    vectors: int = 0
    characters: int = 0
    embedder: str | None = None
