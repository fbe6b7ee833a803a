"""A layout engine for tests: draws a box for every word with Pillow, and keeps the page's text inside the PNG.

Its pictures have the right size and cost, and are the same for the same page. `memagent_renderers.ocr.fake.FakePictureReader`
reads the text back, so that a whole memory can be tested without an engine and an eye.
"""

from __future__ import annotations

import io

from memagent_renderers.layout import Page

TEXT_KEY = "memagent-text"
"""Key of the PNG text chunk that holds the page's lines."""


class FakeEngine:
    """Draws boxes for words. For tests of code that renders; nobody can read its pictures but `FakePictureReader`."""

    name = "fake"
    parallel = False
    version = "2"

    def draw(self, page: Page) -> bytes:
        """PNG with one grey box for each word and the text in a text chunk."""
        from PIL import Image, ImageDraw, PngImagePlugin

        image = Image.new("L", (page.width, page.height), 255)
        pen = ImageDraw.Draw(image)
        for line in page.lines:
            left, top, _, bottom = (round(edge) for edge in line.box)
            height = bottom - top
            for word in line.words:
                wide = max(1, len(word) * height // 3)
                pen.rectangle((left, top, left + wide, top + max(1, height - 3)), fill=128)
                left += wide + max(2, height // 4)
        info = PngImagePlugin.PngInfo()
        info.add_itxt(TEXT_KEY, "\n".join(line.text for line in page.lines))
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=info)
        return buffer.getvalue()

    def close(self) -> None:
        """Nothing to free."""
