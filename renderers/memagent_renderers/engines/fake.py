"""A layout engine for tests: draws a box for every word with Pillow, and keeps the page's text inside the PNG.

Its pictures have the right size and cost, are made without any layout library, and are the same for the same page.
`memagent_renderers.ocr.fake.FakeEye` reads the text back, so that a whole memory can be tested without an engine and an eye.
"""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

TEXT_KEY = "memagent-text"
"""Key of the PNG text chunk that holds the page's lines."""

_LINE_HEIGHT = re.compile(r"line-height:(\d+)px")


class FakeEngine:
    """Draws boxes for words. For tests of code that renders; nobody can read its pictures but `FakeEye`."""

    name = "fake"
    parallel = False
    version = "1"

    def draw(self, html: str, width: int, height: int) -> bytes:
        """PNG with one grey box for each word and the text in a text chunk."""
        from PIL import Image, ImageDraw, PngImagePlugin

        lines = _lines(html)
        image = Image.new("L", (width, height), 255)
        pen = ImageDraw.Draw(image)
        top = 1
        for text, line_height in lines:
            left = 1
            for word in text.split():
                wide = max(1, len(word) * line_height // 3)
                pen.rectangle((left, top, left + wide, top + max(1, line_height - 3)), fill=128)
                left += wide + max(2, line_height // 4)
            top += line_height
        info = PngImagePlugin.PngInfo()
        info.add_itxt(TEXT_KEY, "\n".join(text for text, _ in lines))
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=info)
        return buffer.getvalue()

    def close(self) -> None:
        """Nothing to free."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.line_height = 16
        self.pieces: list[tuple[str, int]] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden = tag == "style"
        found = _LINE_HEIGHT.search(dict(attrs).get("style") or "")
        if tag == "div" and found:
            self.line_height = int(found[1])
            self.pieces.append(("\n", self.line_height))

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.pieces.append((data, self.line_height))


def _lines(html: str) -> list[tuple[str, int]]:
    """Each line of the page with its height in px."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines: list[tuple[str, int]] = []
    for data, line_height in reader.pieces:
        first, *rest = data.split("\n")
        if lines and first:
            lines[-1] = (lines[-1][0] + first, line_height)
        lines += [(part, line_height) for part in ([first] if first and not lines else []) + rest]
    return [line for line in lines if line[0].strip()]
