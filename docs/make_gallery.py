"""Draw the pictures of README and docs/benchmarks/gallery.md, and print the gallery's tables. Everything in them is made up."""

from __future__ import annotations

import io
import re
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import memagent_renderers.fonts
from memagent.importers import read
from memagent.memory.memocr.memory import MemOcrMemory
from memagent.store import Store
from memagent_renderers import Budget, Picture, RapidOcrReader, render, text_of
from memagent_renderers.budget import ESTIMATE
from memagent_renderers.fixed_size import render_downscaled
from memagent_renderers.legibility import read_back

HERE = Path(__file__).parent
DATA = HERE.parent / "examples" / "data"
QUESTION = "What is our flight, and when does it leave?"
FRONT_QUESTION = "I am cooking for my birthday. What must I not serve to Elin and me?"
FRONT_FACTS = {
    "no alcohol for Elin": ("not drink alcohol", "no alcohol for Elin"),
    "no peanuts": ("allergic to peanuts",),
    "no meat": ("a vegetarian in",),
}
"""Parts of the answer -> what the conversation says of each, in one of these forms."""


def main() -> None:
    (HERE / "gallery").mkdir(exist_ok=True)
    front_page()
    conversation()
    memory()


@contextmanager
def made_up_memory() -> Iterator[MemOcrMemory]:
    """The made-up conversation in a store of its own, consolidated."""
    with tempfile.TemporaryDirectory() as place, Store(place) as store:
        memory = store.memory("memocr", user="nora")
        assert isinstance(memory, MemOcrMemory)
        for batch in read(DATA / "conversation.jsonl"):
            memory.add(batch.messages, session=batch.session, origin="imported")
        memory.consolidate()
        yield memory


def front_page(budget: int = 64) -> None:
    """`front-page.png`: one memory within 64 tokens as text that was cut, and as the picture, with what each answers."""
    with made_up_memory() as memory:
        text = cut(plain(memory.page(FRONT_QUESTION, budget=budget)), budget)
        picture = memory.recall(FRONT_QUESTION, budget=budget).picture
    assert picture is not None
    seen = " ".join(text_of(RapidOcrReader().read(picture)).split())
    answers = [answer(text), answer(seen)]
    print(f"text: {answers[0]}; picture: {answers[1]}")
    figure(text, picture, answers).save(HERE / "gallery" / "front-page.png", optimize=True)


def plain(markdown: str) -> str:
    """Markdown without its marks, which would cost the text tokens."""
    return re.sub(r"^#+ |\*\*|\\(?=[^\w\s])", "", markdown, flags=re.MULTILINE)


def cut(text: str, budget: int) -> str:
    """As many whole words from the start as `budget` text tokens hold."""
    words = text.split(" ")
    while words and ESTIMATE.count(" ".join(words)) > budget:
        words.pop()
    return " ".join(words)


def answer(seen: str) -> str:
    """The parts of the answer whose facts are in what was read; the OCR may join words."""
    joined = seen.replace(" ", "")
    parts = [part for part, forms in FRONT_FACTS.items() if any(form.replace(" ", "") in joined for form in forms)]
    return ", ".join(parts) or "I don't know"


def figure(text: str, picture: Picture, answers: list[str]) -> Image.Image:
    """Question on top; the text on the left, the picture at twice its size on the right; answers below."""
    page = Image.new("L", (1180, 660), 255)
    draw = ImageDraw.Draw(page)

    def write(x: int, y: int, line: str, size: int, weight: str = "regular") -> None:
        font = Path(memagent_renderers.fonts.__file__).with_name(f"memagent-condensed-{weight}.ttf")
        draw.text((x, y), line, fill=0, font=ImageFont.truetype(str(font), size))

    write(40, 24, f"“{FRONT_QUESTION}”", 30, "bold")
    titles = ("The memory as text, cut at 64 tokens", "The same memory as a picture of 64 visual tokens (at 2x)")
    for x, title, found in zip((40, 600), titles, answers, strict=True):
        write(x, 80, title, 22)
        draw.rectangle((x - 10, 115, x + 530, 585), outline=160)
        write(x, 605, f"Answer: {found}", 26, "bold")
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 52) or [""]]
    for row, line in enumerate(lines[:18]):
        write(44, 126 + 25 * row, line, 22)
    drawn = Image.open(io.BytesIO(picture.png)).convert("L")
    scale = min(2.0, 530 / drawn.width, 460 / drawn.height)
    drawn = drawn.resize((int(drawn.width * scale), int(drawn.height * scale)), Image.Resampling.LANCZOS)
    page.paste(drawn, (600 + (520 - drawn.width) // 2, 120 + (460 - drawn.height) // 2))
    return page


def conversation() -> None:
    """`budget-N.png`: what memocr shows for one question."""
    with made_up_memory() as memory:
        for budget in (256, 64, 16):
            recall = memory.recall(QUESTION, budget=budget)
            assert recall.picture is not None
            save(recall.picture, f"budget-{budget}")
            print(f"{budget}: {recall.cost} tokens, {len(recall.sources)} lines, {recall.dropped} dropped")


def memory() -> None:
    """`fit-N.png` and `shrink-N.png`: one document both ways, and what the packaged OCR reads of each."""
    document, eye = (DATA / "memory.md").read_text("utf-8"), RapidOcrReader()
    print("| budget | mode | tokens | body px | blocks left out | words read | legible characters per token |")
    for budget in (1024, 256, 64, 16):
        for mode, draw in (("fit", render), ("shrink", render_downscaled)):
            picture = draw(document, Budget(budget))
            save(picture, f"{mode}-{budget}")
            reading = read_back(picture, eye)
            words = sum(word.read for word in reading.words)
            cells = (budget, mode, picture.tokens, f"{picture.sizes['body']:.1f}", picture.dropped, words)
            print(f"| {' | '.join(map(str, cells))} | {reading.density:.1f} |")


def save(picture: Picture, name: str) -> None:
    """As a small PNG in the gallery."""
    Image.open(io.BytesIO(picture.png)).convert("L").save(HERE / "gallery" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
