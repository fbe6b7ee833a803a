"""What something cost: tokens, calls and seconds. It is on every result and adds up with `+`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
