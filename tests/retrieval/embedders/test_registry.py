"""Names of embedders: what each stands for, and what is said of one that nobody knows."""

from __future__ import annotations

import pytest

from memagent.errors import InputError, UnknownName
from memagent.retrieval.embedders import registry
from memagent.retrieval.embedders.registry import load_embedder, resolve_embedder
from memagent.store import Store


def test_a_name_resolves_to_what_a_store_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_embedder(None) is resolve_embedder("none") is None
    assert resolve_embedder("hash") == "hash:384" == load_embedder("hash").id
    assert resolve_embedder("st:folder/model") == "st:folder/model"
    assert load_embedder("hash:32").dimension == 32
    monkeypatch.setattr(registry, "model_folder", lambda: None)
    assert resolve_embedder("auto") is None


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    for refused in (resolve_embedder, load_embedder):
        with pytest.raises(UnknownName, match="minilm"):
            refused("minilmm")
        for name in ("hash:big", "hash:0", "hash:²", "hash:0384", "hash:-1"):
            with pytest.raises(InputError, match="hash:384"):
                refused(name)


def test_a_store_refuses_an_unknown_embedder_before_it_makes_anything(tmp_path: object) -> None:
    folder = f"{tmp_path}/new"
    with pytest.raises(UnknownName, match="minilm"):
        Store(folder, embedder="foo")
    with Store(folder, embedder="hash:16") as store:
        store.memory("rag").add("My dog is called Biscuit.")
        assert store.backend.embedder() is not None
    with pytest.raises(UnknownName, match="minilm"):
        Store(folder, embedder="foo")
