"""The eye to the fake engine: reads the text that `FakeEngine` left inside its pictures. For tests."""

from __future__ import annotations

import io

from memagent_renderers.budget import Picture, Word
from memagent_renderers.engines.fake import TEXT_KEY


class FakePictureReader:
    """Reads every word of a picture made by `FakeEngine`, and nothing of any other."""

    name = "fake"

    def read(self, picture: Picture) -> list[Word]:
        """Words in reading order; boxes tell lines apart and mean nothing else."""
        from PIL import Image

        text = str(getattr(Image.open(io.BytesIO(picture.png)), "text", {}).get(TEXT_KEY, ""))
        return [
            Word(word, (float(place), 10.0 * row, place + 1.0, 10.0 * row + 8))
            for row, line in enumerate(text.split("\n"))
            for place, word in enumerate(line.split())
        ]
