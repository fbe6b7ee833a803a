"""The examples run."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_embedding_in_an_app(tmp_path: Path) -> None:
    module = runpy.run_path(str(EXAMPLES / "embed_in_an_app.py"))
    assert "Biscuit" in module["main"](str(tmp_path))
    assert "Biscuit" in module["main"](str(tmp_path))


def test_a_memory_of_ones_own(tmp_path: Path) -> None:
    from memagent import Store

    memory_class = runpy.run_path(str(EXAMPLES / "own_memory.py"))["LastWords"]
    with Store(tmp_path, embedder=None) as store:
        memory = memory_class(store)
        memory.observe("My dog is called Biscuit.")
        assert "Biscuit" in memory.recall("dog", budget=60).view
