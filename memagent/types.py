"""The types that every part shares: messages, usage, and what the verbs of a memory return.

All are immutable and dump to JSON with `.model_dump()`. A message's content is a text, or a tuple of parts when pictures are
among it. Times carry a time zone; a message without one gets the clock's time when it is stored.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from memagent_renderers.budget import Picture

Role = Literal["system", "user", "assistant", "tool"]
BYTE_ORDER_MARK = "\ufeff"
"""Stands at the start of files and pipes of Windows and is no part of what was said."""


class TextPart(BaseModel):
    """The text of a message, or one of its parts next to pictures."""

    model_config = ConfigDict(frozen=True)

    type: Literal["text"] = "text"
    text: str

    @field_validator("text")
    @classmethod
    def _plain(cls, value: str) -> str:
        return value.removeprefix(BYTE_ORDER_MARK)


class ImagePart(BaseModel):
    """A picture by value; never a path or an address, so that reading a message touches no file and no network."""

    model_config = ConfigDict(frozen=True)

    type: Literal["image"] = "image"
    data: bytes
    media_type: Literal["image/png", "image/jpeg", "image/webp"] = "image/png"

    @field_validator("data", mode="before")
    @classmethod
    def _from_base64(cls, value: object) -> object:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value

    @field_serializer("data", when_used="json")
    def _to_base64(self, value: bytes) -> str:
        return base64.b64encode(value).decode("ascii")

    @property
    def url(self) -> str:
        """The picture as a data URL, the form that OpenAI-compatible servers take."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(BaseModel):
    """One utterance. `id` is given by the store unless the caller brings one, unique within its user."""

    model_config = ConfigDict(frozen=True)

    role: Role
    content: str | tuple[Part, ...]
    time: datetime | None = None
    """When it was said, with a time zone. None: not known yet, the store fills in its clock."""
    id: str | None = None
    """Identity within one user. None: not stored yet."""
    speaker: str | None = None
    """Name of a participant, where a dialogue has more than the user and the assistant."""

    @field_validator("content")
    @classmethod
    def _plain(cls, value: str | tuple[Part, ...]) -> str | tuple[Part, ...]:
        return value.removeprefix(BYTE_ORDER_MARK) if isinstance(value, str) else value

    @field_validator("time")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"message time {value.isoformat()} has no time zone; add one, such as tzinfo=UTC")
        return value

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """The pictures, in order."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, ImagePart))


def user_message(text: str, *images: ImagePart) -> Message:
    """A user message; pictures, if any, stand before the text."""
    return Message(role="user", content=(*images, TextPart(text=text)) if images else text)


def now() -> datetime:
    """The current time with this machine's offset from UTC, so that its day is the day where something is said."""
    return datetime.now().astimezone()


class Usage(BaseModel):
    """Costs of one or more steps; zero where nothing was spent."""

    model_config = ConfigDict(frozen=True)

    text_in: int = 0
    """Text tokens read by models."""
    text_out: int = 0
    """Text tokens written by models."""
    visual: int = 0
    """Visual tokens read by models, or charged for a picture that an OCR reader read in a model's place."""
    calls: int = 0
    """Model calls."""
    seconds: float = 0.0
    """Wall time spent in those calls."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            text_in=self.text_in + other.text_in,
            text_out=self.text_out + other.text_out,
            visual=self.visual + other.visual,
            calls=self.calls + other.calls,
            seconds=self.seconds + other.seconds,
        )


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class WriteResult(_Result):
    """What became of one thing handed to a memory."""

    id: str
    """The item concerned."""
    action: Literal["added", "merged", "superseded", "removed", "restored", "skipped"]
    """added: it is new; merged: said already, the item rests on one message more; superseded: it has another text; removed: it
    is hidden or erased; restored: it is as it was before; skipped: nothing changed, `reason` says why."""
    reason: str = ""
    """Why, in words; "" where the action says it all."""


class Receipt(_Result):
    """Proof of a write: made after the commit, so that everything it names survives a crash."""

    outcomes: tuple[WriteResult, ...]
    seq: int
    """Place of the store's log at which these writes are contained."""
    usage: Usage = Usage()
    """What the write cost in model calls."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order of what was handed in."""
        return tuple(outcome.id for outcome in self.outcomes)


class Item(_Result):
    """One thing a memory holds: a message, a note, a line of a draft."""

    id: str
    text: str
    kind: Literal["message", "note", "draft"]
    role: str | None = None
    speaker: str | None = None
    session: str | None = None
    time: datetime
    """When it was said; for a note, when it was last changed."""
    origin: str
    """said, added (by `remember`), imported, or partial (an answer that was interrupted); of notes and drafts: distilled, or
    user."""
    label: str | None = None
    """The label of a note of the style "key_value"; of a draft, the question that it is for."""
    tier: str | None = None
    """The importance that a drafter gave it."""
    valid_from: datetime | None = None
    """For notes: since when this holds, as far as known."""
    valid_to: datetime | None = None
    """For notes: until when this held; None while it holds."""
    sources: tuple[str, ...] = ()
    """Ids of the messages it rests on."""


class SearchResult(_Result):
    """One hit of `Memory.search`: the item, and how well it fits the query."""

    item: Item
    score: float
    """Higher is better; comparable within one search only."""


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
    role: Role = "user"
    """Who said it: what an assistant said is no statement of the user."""
    speaker: str | None = None
    """The name of who said it, where it is known."""
    time: datetime | None = None
    """When it was said; of several messages, the last one's."""
    seq: int = 0
    """Place in the log of the last message behind it: what was said later has a higher one. 0 where it is not known."""


class Recall(_Result):
    """A view of the memory for one question, within a budget."""

    text: str | None = None
    """The view as text, "" when there is nothing to show; None when it is a picture."""
    picture: Picture | None = None
    """The view as a picture; None when it is text."""
    cost: int
    """Tokens of the view by the budget's reader: text tokens, or visual tokens of a picture. Never above `budget`."""
    budget: int
    """Most tokens that it might cost."""
    kind: str
    """Kind of memory that made it."""
    exact: bool
    """Whether `cost` was counted by the reader's own tokenizer or price list."""
    sources: tuple[Source, ...] = ()
    dropped: int = 0
    """Items of the memory that are not in the view, or not whole; of pictures, lines."""
    usage: Usage = Usage()
    """What making the view cost beyond reading it."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.picture is None and not self.text


class HistoryEntry(_Result):
    """One entry of an item's history."""

    id: str
    """The item concerned."""
    action: str
    """add, update, delete, restore; of notes and drafts also none: something was said again, or a change was considered."""
    at: datetime
    """When it was done, which may be long after it was said."""
    text: str | None = None
    """The text from then on; None where it was removed."""
    reason: str = ""
    """Why, in words; "undo" for what `undo` did."""
    origin: str = ""
    """As of `Item.origin`; user for changes made by hand."""
    session: str | None = None


class ConsolidationResult(_Result):
    """What `Memory.consolidate` did: units of work, and the notes or drafts that changed."""

    processed: int = 0
    """Messages consolidated, or passages embedded."""
    outcomes: tuple[WriteResult, ...] = ()
    """Notes or drafts that changed, in order."""
    usage: Usage = Usage()
    """What the model that writes them cost."""


class AuditFinding(_Result):
    """A suspicious item that `Memory.audit` found, and why."""

    id: str
    problem: Literal["duplicate", "empty", "very long", "instruction", "no longer valid", "unembedded"]
    detail: str
    """What was found, in words."""


class Stats(_Result):
    """Sizes of a memory: messages, sessions, and what waits for `consolidate`."""

    kind: str
    user: str
    messages: int
    """Messages of the log that are not deleted."""
    deleted: int
    """Messages hidden by `delete`, which `undo` may bring back."""
    sessions: int
    notes: int = 0
    """Notes or drafts that hold now."""
    pending: int = 0
    """As `Memory.pending_count`."""
    vectors: int = 0
    """Passages embedded so far."""
    characters: int = 0
    """Characters of the messages that are not deleted."""
    embedder: str | None = None
    """Id of the embedder that made the vectors; None as long as there are none."""
