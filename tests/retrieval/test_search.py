"""Searching: the parts against independent references, and the whole on small dialogues."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.retrieval import scoring, vectors
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.retrieval.lexical import LexicalIndex, joint_scores
from memagent.retrieval.vectors import VectorIndex
from memagent.store import Store
from memagent.text import tokens
from memagent.text.sentences import PASSAGE_CHARACTERS, spans
from memagent.types import Message

CORPUS = [
    "the cat sat on the mat",
    "a dog chased the cat",
    "dogs and cats are pets",
    "the stock market fell",
    "my dog is called biscuit",
]


def test_bm25_without_delta_equals_bm25s_lucene() -> None:
    bm25s = pytest.importorskip("bm25s")
    documents = [tokens.terms(text) for text in CORPUS]
    theirs = bm25s.BM25(method="lucene", k1=1.2, b=0.5)
    theirs.index(documents, show_progress=False)
    ours = LexicalIndex(k1=1.2, b=0.5, delta=0.0)
    for one in documents:
        ours.add(one)
    query = tokens.terms("dog cat")
    assert np.allclose(ours.scores(query) / 2.2, theirs.get_scores(query), atol=1e-5)


def test_indexes_scored_together_are_one_collection() -> None:
    whole, first, second = LexicalIndex(), LexicalIndex(), LexicalIndex()
    for number, text in enumerate(CORPUS):
        whole.add(tokens.terms(text))
        (first if number < 2 else second).add(tokens.terms(text))
    query = tokens.terms("dog cat market")
    assert np.allclose(joint_scores(query, first, second), whole.scores(query))


def test_an_index_that_grew_equals_one_that_was_loaded() -> None:
    grown, loaded = LexicalIndex(), LexicalIndex()
    for text in CORPUS[:3]:
        grown.add(tokens.terms(text))
    loaded.load(grown.dump())
    for index in (grown, loaded):
        for text in CORPUS[3:]:
            index.add(tokens.terms(text))
    query = tokens.query_terms("what is the dog called?")
    assert grown.scores(query).tolist() == loaded.scores(query).tolist()


def test_group_scores_equal_scoring_the_joined_documents() -> None:
    groups = np.array([0, 0, 1, 1, 1], np.int32)
    parts, joined = LexicalIndex(delta=0), LexicalIndex(delta=0)
    for text in CORPUS:
        parts.add(tokens.terms(text))
    for number in range(2):
        joined.add([term for text, group in zip(CORPUS, groups, strict=True) if group == number for term in tokens.terms(text)])
    query = tokens.terms("dog cat")
    assert np.allclose(parts.group_scores(query, groups, number=2), joined.scores(query), atol=1e-5)


def test_the_scan_of_codes_finds_what_exact_scores_find(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(vectors, "EXACT_AT_FIRST", 0)
    random = np.random.default_rng(0)
    rows = random.standard_normal((6_000, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = VectorIndex(64)
    index.extend(rows[:5_000])
    index.nearest(rows[0], 10)
    index.extend(rows[5_000:5_900])
    index.nearest(rows[0], 10)
    index.extend(rows[5_900:])  # too few for codes of their own
    index.put(7, rows[5_901])
    index.put(5_950, rows[0])
    for row in (0, 4_999, 5_500, 5_901):
        exact = set(np.argsort(-index.scores(rows[row]))[:10].tolist())
        assert len(exact & set(index.nearest(rows[row], 30).tolist())) >= 9
        assert row in index.nearest(rows[row], 30)
    assert {7, 5_901} <= set(index.nearest(rows[5_901], 2).tolist())
    assert {0, 5_950} <= set(index.nearest(rows[0], 2).tolist())


@given(st.text(max_size=4_000))
def test_passages_cover_the_text_and_keep_to_the_limit(text: str) -> None:
    found = spans(text)
    assert "".join(text[start:stop] for start, stop in found) == text
    assert all(stop - start <= PASSAGE_CHARACTERS for start, stop in found)


def test_terms_of_unspaced_scripts_are_pairs_of_characters_and_ideographs() -> None:
    assert tokens.terms("東京都") == ["東京", "京都", "東", "京", "都"]
    assert tokens.terms("タマ") == ["タマ"]
    assert tokens.query_terms("What did the dogs do?") == ["the", "dog"]


def dialogue() -> list[Message]:
    lines = [
        ("Ana", "What did you do on the weekend?"),
        ("Ben", "I adopted a puppy from the shelter!"),
        ("Ana", "How sweet! What is its name?"),
        ("Ben", "Biscuit. He is so playful."),
        ("Ana", "I went hiking near the lake with my sister last week."),
        ("Ben", "That sounds lovely."),
    ]
    time = datetime(2023, 5, 8, tzinfo=UTC)
    return [Message(role="user", speaker=who, content=text, time=time) for who, text in lines]


def test_an_answer_is_found_through_the_question_before_it(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        memory.add(dialogue())
        found = [one.item.text for one in memory.search("What is the name of Ben's puppy?", limit=3)]
        assert "Biscuit. He is so playful." in found


def test_large_indexes_rank_candidates_as_the_whole_would_be_ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent.evaluation.store import made_up_texts

    texts = made_up_texts(1_500)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", content=text) for text in texts])
        whole = [[one.item.id for one in memory.search(text, limit=5)] for text in texts[::100]]
        monkeypatch.setattr(scoring, "COMPLETE_LIMIT", 100)
        part = [[one.item.id for one in memory.search(text, limit=5)] for text in texts[::100]]
    agreement = [len(set(a) & set(b)) / 5 for a, b in zip(whole, part, strict=True)]
    assert np.mean(agreement) >= 0.8


def test_narrowing_to_a_small_session_of_a_large_store_still_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent.evaluation.store import made_up_texts

    monkeypatch.setattr(scoring, "COMPLETE_LIMIT", 50)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", content=f"{text} walrus") for text in made_up_texts(400)])
        memory.add([Message(role="user", content=f"walrus number {number}") for number in range(80)], session="sea")
        found = memory.search("walrus number 7", limit=5, session="sea")
        assert len(found) == 5
        assert all(one.item.session == "sea" for one in found)
        assert found[0].item.text == "walrus number 7"


def test_a_session_is_found_behind_better_matches_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "COMPLETE_LIMIT", 50)
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", content=f"walrus walrus walrus {number}") for number in range(300)])
        others = [f"a note about tea and item {number}" for number in range(70)]
        memory.add([Message(role="user", content=text) for text in [*others, "one walrus at sea"]], session="sea")
        found = memory.search("walrus", limit=3, session="sea")
        assert found[0].item.text == "one walrus at sea"


def test_without_an_embedder_words_alone_rank(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add(dialogue())
        assert "puppy" in memory.search("Which puppy was adopted?", limit=1)[0].item.text
        assert store.embedder_id is None
        assert memory.pending_count() == 6


def test_a_question_that_matches_nothing_still_gives_a_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "COMPLETE_LIMIT", 3)
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add(dialogue())
        assert memory.recall("zzz qqq", budget=40).text


def test_long_messages_of_one_voice_are_documents_and_an_exchange_is_not(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(60))
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add(Message(role="user", speaker="Museum", content=text), session="document 1")
        memory.add([Message(role="user", content="Hello."), Message(role="user", content="I am Ada.")], session="talk")
        searcher = store.backend.searcher("default")
        assert searcher.holds_documents("document 1")
        assert not searcher.holds_documents("talk")
        assert not searcher.holds_documents()
        assert not searcher.holds_documents("none")
        memory.add([Message(role="user", content=text), Message(role="assistant", content=text)], session="exchange")
        assert not searcher.holds_documents("exchange")


@pytest.mark.parametrize("short", ["Hov is a village in Norway.", "城市"])
def test_a_short_article_among_long_ones_is_a_document(tmp_path: Path, short: str) -> None:
    long = " ".join(f"word{number}" for number in range(60))
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        for number, text in enumerate((long, short, long)):
            memory.add(Message(role="user", speaker=f"Title {number}", content=text), session=f"document {number}")
        searcher = store.backend.searcher("default")
        assert searcher.holds_documents()
        memory.add("I live in Hov.", session="nameless")
        assert not searcher.holds_documents("nameless")
        memory.add([Message(role="user", speaker=who, content="Hi!") for who in ("Ada", "Bo")], session="talk")
        assert not searcher.holds_documents("talk")


def test_short_messages_of_many_people_are_no_documents_for_one_that_is_long(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        for number, size in enumerate((60, 5, 5, 5)):
            text = " ".join(f"word{place}" for place in range(size))
            memory.add(Message(role="user", speaker=f"Guest {number}", content=text), session=f"card {number}")
        searcher = store.backend.searcher("default")
        assert searcher.holds_documents("card 0")
        assert not searcher.holds_documents("card 1")


def test_what_follows_a_passage_ends_with_the_last_of_it_that_may_correct_something(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add(["I weigh 82 kilos.", Message(role="assistant", content="Actually, I see."), "I like figs."])
        memory.add(["Actually make that 79.", "I like tea.", "It rained."])
        searcher = store.backend.searcher("ada")
        [hit] = searcher.search("Who weighs 82 kilos?", limit=1, mode="lexical")
        for reach, expected in ((5, ["I like figs.", "Actually make that 79."]), (1, [])):
            [later] = searcher.corrections([hit], lambda one: one.text, limit=5, reach=reach)
            assert [one.text for one in later.next] == expected
