"""An eye made of a legibility curve: thousands of reads a second for training and for large benches.

Each word of a picture is read with the probability that the curve gives for its size and weight. Which words are lost
is drawn from the seed and from what stands on the picture, so the same page is always read the same way, whatever engine
drew it. It knows nothing that a real eye would not: a word lost comes back with its letters blotted. Wherever results rest
on it, `agreement` on at least 100 pictures says how far it can be trusted.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from memagent_renderers import fonts
from memagent_renderers.budget import Picture, PictureReader, TextLine, Word
from memagent_renderers.errors import InputError
from memagent_renderers.legibility import read_back
from memagent_renderers.legibility_curve import LegibilityCurve

BLOT = "·"


class SimulatedReader:
    """Reads pictures that `render` made, by the curves of `legibility`. Cheap, seeded, and no library needed."""

    def __init__(self, legibility: LegibilityCurve, *, seed: int = 0) -> None:
        self.name = f"calibrated ({legibility.eye})"
        self._acuity = legibility
        self._seed = seed

    def read(self, picture: Picture) -> list[Word]:
        """Words in reading order. Raises `InputError` for a picture that does not say what was set on it."""
        if not picture.lines and picture.dropped:
            raise InputError("a calibrated eye reads only pictures made by `render`, which say what was set on them")
        digest = hashlib.sha256(f"{self._seed}:{picture.width}x{picture.height}:{picture.lines}".encode()).digest()
        rng = random.Random(int.from_bytes(digest[:8], "big"))
        words: list[Word] = []
        for line in picture.lines:
            for text, face, box in zip(line.words, line.faces, word_boxes(line), strict=True):
                share = self._acuity.share(line.size, bold=face == "bold")
                read = rng.random() < share
                words.append(Word(text if read else BLOT * len(text), box, share))
        return words


def word_boxes(line: TextLine) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom in px of each word of a line."""
    left, top, _, bottom = line.box
    regular = fonts.face("regular")
    boxes = []
    for text, name in zip(line.words, line.faces, strict=True):
        right = left + fonts.face(name).width(text) * line.size / regular.units
        boxes.append((left, top, right, bottom))
        left = right + regular.advances[" "] * line.size / regular.units
    return boxes


@dataclass(frozen=True)
class Agreement:
    """How a calibrated eye compares with the real one on the same pictures."""

    pictures: int
    real: float
    """Mean share of words that the real eye read."""
    calibrated: float
    """Mean share of words that the calibrated eye read."""
    apart: float
    """Mean absolute difference of the two shares, picture by picture."""


def agreement(pictures: Sequence[Picture], eye: PictureReader, calibrated: SimulatedReader) -> Agreement:
    """Read the same pictures with both eyes. Raises `InputError` when there is nothing to read."""
    pairs = [
        (real, sampled)
        for picture in pictures
        if (real := read_back(picture, eye).share()) is not None
        and (sampled := read_back(picture, calibrated).share()) is not None
    ]
    if not pairs:
        raise InputError("agreement needs at least one picture with words on it")
    n = len(pairs)
    return Agreement(
        n,
        sum(real for real, _ in pairs) / n,
        sum(sampled for _, sampled in pairs) / n,
        sum(abs(real - sampled) for real, sampled in pairs) / n,
    )
