"""Memory as a picture: the contract, the page, and what an eye reads on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.agent import Agent
from memagent.errors import BudgetError, ConfigError
from memagent.memory.memocr import MemOcrMemory, markdown
from memagent.memory.results import Source
from memagent.models.fake import FakeModel
from memagent.models.ocr_reader import OcrReader
from memagent.retrieval.embedder import HashEmbedder
from memagent.store.store import Store
from memagent.testing.contract import WORDS, MemoryContract
from renderers.reader import Budget
from renderers.richtext import parse


class TestMemOcr(MemoryContract):
    memory_class = MemOcrMemory


def test_text_of_a_message_fakes_no_heading_and_no_html() -> None:
    hostile = "# big <b>bold</b> **x** &lt; `code` [a](http://x)"
    (block,) = parse(markdown([Source(id="m1", text=hostile)]))
    assert block.tier == "h2"
    assert block.text == hostile


def test_a_budget_below_the_floor_is_named(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("memocr")
        memory.observe("My dog is called Biscuit.")
        with pytest.raises(BudgetError, match="4"):
            memory.recall("dog", budget=Budget(3, WORDS))


def test_a_model_is_refused_for_now(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store, pytest.raises(ConfigError, match="without a model"):
        store.memory("memocr", model=FakeModel())


def test_a_model_that_cannot_see_answers_from_what_ocr_reads(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("memocr", session="told")
        memory.observe("My dog is called Biscuit and I live in Lyon.")
        memory.observe("I work as a gardener in the park.")
        memory.flush()
        asked = store.memory("memocr", session="asked")
        agent = Agent(model=OcrReader(FakeModel()), memory=asked, budget=64)
        answer = agent.run("What is my dog called?")
        assert "Biscuit" in answer.text
        assert answer.recall is not None
        assert answer.recall.picture is not None
        assert 0 < answer.usage.visual <= 64
