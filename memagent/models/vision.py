"""How well a model sees: it reads pages as an OCR engine does, and what was measured of it is kept for later.

`memagent bench calibrate --reader MODEL --keep` measures how small a model can read and keeps the curves in the data folder;
from then on `load_model` gives them to the model's reader, and layout sets type for it by them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from memagent.models.base import ChatModel
from memagent.types import ImagePart, user_message
from memagent_renderers.budget import Picture, Word
from memagent_renderers.legibility_curve import LegibilityCurve

TRANSCRIBE = "Transcribe all text in this picture, line by line, exactly as it is written. Write nothing else."
_TOKENS_PER_VISUAL = 16
"""Most text tokens of a transcript for each visual token: more than any page holds."""


class VLMReader:
    """A model that sees, behind the `PictureReader` protocol: it is asked for a transcript. Boxes of words are not known."""

    def __init__(self, model: ChatModel) -> None:
        self.name = model.name
        self._model = model

    def read(self, picture: Picture) -> list[Word]:
        """Words in reading order, all with an empty box but for the line, which counts down the page."""
        message = user_message(TRANSCRIBE, ImagePart(data=picture.png))
        reply = self._model.generate((message,), max_tokens=64 + _TOKENS_PER_VISUAL * picture.tokens)
        return [
            Word(word, (0.0, float(row), 0.0, float(row)))
            for row, line in enumerate(reply.text.splitlines())
            for word in line.split()
        ]


def legibility_file(name: str) -> Path:
    """Where the curves of a model of this name are kept."""
    from memagent.db.paths import default_folder

    return default_folder() / "legibility" / f"{re.sub('[^A-Za-z0-9._-]+', '_', name)}.json"


def save_legibility(name: str, legibility: LegibilityCurve) -> Path:
    """Keep the curves of a model for later. Returns the file."""
    path = legibility_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    legibility.save(path)
    return path


def with_legibility(name: str, model: ChatModel) -> ChatModel:
    """The model, whose reader has the curves kept for this name, if there are any."""
    path = legibility_file(name)
    if model.reader.sees_images and path.exists():
        model.reader = replace(model.reader, legibility=LegibilityCurve.load(path))
    return model
