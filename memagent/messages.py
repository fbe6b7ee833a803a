"""Messages: what agents say, hear and remember.

A `Message` is immutable. Its content is a text, or a tuple of parts when pictures are among it. Times carry a time
zone; a message without one gets the clock's time when it is stored.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

Role = Literal["system", "user", "assistant", "tool"]


class TextPart(BaseModel):
    """A run of text."""

    model_config = ConfigDict(frozen=True)

    type: Literal["text"] = "text"
    text: str


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


def user(text: str, *images: ImagePart) -> Message:
    """A user message; pictures, if any, stand before the text."""
    return Message(role="user", content=(*images, TextPart(text=text)) if images else text)


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)
