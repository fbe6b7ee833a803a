"""A sentence-transformers model embeds queries and passages with its own prompts, and the memories say which is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.checkpoints import byte_tokenizer, saved_llama

from memagent.errors import ConfigError, MissingExtra
from memagent.retrieval.embedders.base import Role, Vectors
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.retrieval.embedders.registry import load_embedder
from memagent.store import Store


def saved_model(folder: Path, prompts: Mapping[str, str]) -> tuple[str, Any]:
    """A tiny model with these prompts in its files: its embedder's name, and the model that the library makes of it."""
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None  # with one, a prompt becomes a system message
    words = Transformer(str(saved_llama(folder / "words", tokenizer=tokenizer)))
    model = library.SentenceTransformer(modules=[words, Pooling(32)], prompts=dict(prompts), device="cpu")
    model.save(str(folder / "model"))
    return f"st:{folder / 'model'}", model


@pytest.mark.slow  # imports torch and scikit-learn
def test_the_prompt_of_the_role_is_put_before_the_texts(tmp_path: Path) -> None:
    name, model = saved_model(tmp_path, {"query": "query: ", "document": "passage: "})
    embedder = load_embedder(name)
    for role, prompt in (("query", "query: "), ("passage", "passage: ")):
        expected = model.encode([f"{prompt}a dog", f"{prompt}a cat"], normalize_embeddings=True, show_progress_bar=False)
        np.testing.assert_allclose(embedder.embed(["a dog", "a cat"], role=role), expected, atol=1e-5)
    apart = np.abs(embedder.embed(["a dog"], role="query") - embedder.embed(["a dog"])).max()
    assert apart > 0.01
    assert embedder.embed([], role="query").shape == (0, 32)


@pytest.mark.slow  # imports torch and scikit-learn
def test_a_model_without_prompts_is_symmetric(tmp_path: Path) -> None:
    name, model = saved_model(tmp_path, {})
    embedder = load_embedder(name)
    expected = model.encode(["a dog"], normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(embedder.embed(["a dog"]), expected, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(["a dog"], role="query"), expected, atol=1e-5)


@pytest.mark.slow  # imports torch and scikit-learn
def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_embedder(f"st:{tmp_path}").embed(["a dog"])


def test_the_extra_is_named_where_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"memagent\[sentence-transformers\]"):
        load_embedder("st:any").embed(["a dog"])


class Recording(HashEmbedder):
    """Remembers each text with the role it was embedded in."""

    def __init__(self) -> None:
        super().__init__(dimension=16)
        self.roles: dict[Role, list[str]] = {"query": [], "passage": []}

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        self.roles[role] += texts
        return super().embed(texts, role=role)


@pytest.mark.parametrize("kind", ["rag", "notes", "memocr"])
def test_memories_embed_the_question_as_a_query_and_what_they_hold_as_passages(kind: str, tmp_path: Path) -> None:
    embedder = Recording()
    with Store(tmp_path, embedder=embedder) as store:
        memory = store.memory(kind)
        for number in range(40):
            memory.add(f"My friend number {number} is called Ada{number} and likes tea.")
        memory.consolidate()
        memory.recall("Who likes tea?", budget=32)
    assert set(embedder.roles["query"]) <= {"Who likes tea?"}
    assert any("likes tea" in text for text in embedder.roles["passage"])
    assert not any("Who likes" in text for text in embedder.roles["passage"])
    if kind != "memocr":
        assert embedder.roles["query"], f"{kind} ranks by meaning"
