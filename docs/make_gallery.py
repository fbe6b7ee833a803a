"""Draw docs/gallery/*.png: one made-up conversation as MemOCR shows it for a question, at three budgets."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from memagent.importers import read
from memagent.retrieval.embedder import HashEmbedder
from memagent.store.store import Store

HERE = Path(__file__).parent
QUESTION = "What is our flight, and when does it leave?"


def main() -> None:
    folder = HERE / "gallery"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, Store(place, embedder=HashEmbedder()) as store:
        memory = store.memory("memocr", user="nora")
        for batch in read(HERE.parent / "examples" / "data" / "conversation.jsonl"):
            memory.observe(batch.messages, session=batch.session, origin="imported")
        memory.flush()
        for budget in (256, 64, 16):
            recall = memory.recall(QUESTION, budget=budget)
            assert recall.picture is not None
            page = Image.open(io.BytesIO(recall.picture.png)).convert("L")
            page.save(folder / f"budget-{budget}.png", optimize=True)
            print(f"{budget}: {recall.cost} tokens, {len(recall.sources)} lines, {recall.dropped} dropped")


if __name__ == "__main__":
    main()
