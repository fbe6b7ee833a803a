"""The examples run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

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
        memory.add("My dog is called Biscuit.")
        assert "Biscuit" in memory.recall("dog", budget=60).text


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    assert runpy.run_path(str(EXAMPLES / "own_model.py"))["main"](str(tmp_path)) == "HELLO THERE"


def test_a_web_app_keeps_its_users_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAGENT_STORE", str(tmp_path))
    module = runpy.run_path(str(EXAMPLES / "web_app.py"))
    chat, said = module["chat"], module["Said"]
    with module["store"]:
        chat("ada", said(text="My dog is called Biscuit."))
        assert "Biscuit" in chat("ada", said(text="What is my dog called?"))["answer"]
        assert "Biscuit" not in str(chat("bob", said(text="What is my dog called?")))
        assert module["erase"]("ada") == {"erased": "ada"}
        assert "Biscuit" not in str(chat("ada", said(text="What is my dog called?")))
    assert {route.path for route in module["app"].routes} >= {"/chat/{user}", "/users/{user}"}
