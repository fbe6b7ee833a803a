"""Draw the pictures of README and docs/benchmarks/gallery.md, and print the gallery's tables. Everything in them is made up."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from memagent.importers import read
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent_renderers import Budget, Picture, RapidOcrReader, render
from memagent_renderers.fixed_size import render_downscaled
from memagent_renderers.legibility import read_back

HERE = Path(__file__).parent
DATA = HERE.parent / "examples" / "data"
QUESTION = "What is our flight, and when does it leave?"


def main() -> None:
    (HERE / "gallery").mkdir(exist_ok=True)
    conversation()
    memory()


def conversation() -> None:
    """`budget-N.png`: what memocr shows for one question."""
    with tempfile.TemporaryDirectory() as place, Store(place, embedder=HashEmbedder()) as store:
        memory = store.memory("memocr", user="nora")
        for batch in read(DATA / "conversation.jsonl"):
            memory.add(batch.messages, session=batch.session, origin="imported")
        memory.consolidate()
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
