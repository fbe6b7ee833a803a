"""Contexts: as long as asked, gold kept, shuffled for each question and seed on its own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.environments.long_qa.padding import Context, format_document, padded
from memagent.errors import InputError
from memagent_renderers.budget import estimate_tokens

POOL = [Document(f"Title {number}", (f"Fact {number} is one.", f"Fact {number} is two.")) for number in range(200)]
ONE = max(estimate_tokens(format_document(document, 100)) for document in POOL) + 1


def _case(id: str) -> QAExample:
    own = (Document("Own", ("Nothing.", "The gold.")), Document("Title 7", ("Also own.",)))
    return QAExample(id, "What?", ("gold",), own, ((0, 1), (1, 0)), (1, 0))


def test_the_length_is_reached_and_not_exceeded() -> None:
    context = padded(_case("a"), POOL, tokens=1_000, seed=0, count=estimate_tokens)
    assert 1_000 - ONE < context.tokens <= 1_000
    assert context.complete
    assert 0.9 * context.tokens <= estimate_tokens(context.text) <= context.tokens


def test_a_small_pool_is_used_up_and_own_documents_always_stay() -> None:
    whole = padded(_case("a"), POOL, tokens=10**6, seed=0, count=estimate_tokens)
    assert len(whole.documents) == len(POOL) + 1  # "Title 7" of the pool bears the title of an own one
    assert {one.title for one in whole.documents} == {one.title for one in POOL} | {"Own"}
    alone = padded(_case("a"), POOL, tokens=1, seed=0, count=estimate_tokens)
    assert set(alone.documents) == set(_case("a").documents)
    assert (whole.complete, alone.complete) == (False, True)


def test_evidence_points_to_the_same_sentences_after_the_shuffle() -> None:
    for seed in range(5):
        context = padded(_case("a"), POOL, tokens=1_000, seed=seed, count=estimate_tokens)
        assert [context.documents[place].sentences[at] for place, at in context.evidence] == ["The gold.", "Also own."]
        assert [context.documents[place].title for place in context.support] == ["Title 7", "Own"]


def test_own_documents_have_no_fixed_places() -> None:
    made = [padded(_case(f"case {number}"), POOL, tokens=1_000, seed=0, count=estimate_tokens) for number in range(30)]
    places = {context.evidence[0][0] for context in made}
    assert len(places) > 10
    assert min(places) < len(made[0].documents) / 4 < 3 * len(made[0].documents) / 4 < max(places)


def test_padding_is_seeded() -> None:
    first, again, other = (padded(_case("a"), POOL, tokens=1_000, seed=seed, count=estimate_tokens) for seed in (1, 1, 2))
    assert first == again
    assert set(first.documents) != set(other.documents)


def test_documents_are_written_as_published() -> None:
    context = padded(_case("a"), [], tokens=1, seed=0, count=estimate_tokens)
    first, second = (f"{one.title}\n{one.text}" for one in context.documents)
    assert context.text == f"Document 1:\n{first}\n\nDocument 2:\n{second}"


@pytest.mark.parametrize("documents", [1, 2, 50, 199, 200])
def test_the_length_may_be_told_in_documents(documents: int) -> None:
    context = padded(_case("a"), POOL, documents=documents, seed=0, count=estimate_tokens)
    assert len(context.documents) == len(set(context.documents)) == max(2, documents)
    assert context.complete
    assert context.tokens == padded(_case("a"), POOL, tokens=context.tokens, seed=0, count=estimate_tokens).tokens


def test_a_pool_that_is_used_up_is_told() -> None:
    context = padded(_case("a"), POOL, documents=202, seed=0, count=estimate_tokens)
    assert (len(context.documents), context.complete) == (201, False)


def _within(shorter: Context, longer: Context) -> bool:
    """Whether the longer one is the shorter one with more documents between."""
    rest = iter(longer.documents)
    return all(any(one == other for other in rest) for one in shorter.documents)


def test_a_longer_context_is_the_shorter_one_with_more_between() -> None:
    for name in ("a", "b"):
        lengths: list[dict[str, int]] = [{"documents": 10}, {"tokens": 700}, {"documents": 80}, {"tokens": 10**6}]
        made = [padded(_case(name), POOL, seed=3, count=estimate_tokens, **length) for length in lengths]
        sizes = [len(context.documents) for context in made]
        assert sizes == sorted(set(sizes))
        assert all(_within(shorter, longer) for shorter, longer in pairwise(made))


def test_a_document_that_mentions_a_name_of_an_own_one_is_not_drawn() -> None:
    own = Document("Bert", ("Bert lives in Badon.",), frozenset({"Badon"}))
    pool = [
        Document("Badon", ("Badon is old.",)),
        Document("Cora", ("Cora lives in Badon.",), frozenset({"Badon"})),
        Document("Dora", ("Dora was mentored by Bert.",), frozenset({"Bert"})),
        Document("Eda", ("Eda lives in Ford.",), frozenset({"Ford"})),
    ]
    context = padded(QAExample("a", "Where?", ("Badon",), (own,), ((0, 0),), (0,)), pool, tokens=10_000, seed=0, count=len)
    assert {one.title for one in context.documents} == {"Bert", "Eda"}


@pytest.mark.parametrize("length", [{}, {"tokens": 5, "documents": 5}, {"tokens": 0}, {"documents": -1}])
def test_one_length_is_needed(length: dict[str, int]) -> None:
    with pytest.raises(InputError, match="1 or more `tokens` or 1 or more `documents`"):
        padded(_case("a"), POOL, seed=0, count=estimate_tokens, **length)
