"""Contexts: as long as asked, gold kept, shuffled for each question and seed on its own."""

from __future__ import annotations

from memagent.environments.long_qa.cases import Case, Document
from memagent.environments.long_qa.padding import padded, written
from renderers.reader import estimate_tokens

POOL = [Document(f"Title {number}", (f"Fact {number} is one.", f"Fact {number} is two.")) for number in range(200)]
ONE = max(estimate_tokens(written(document, 100)) for document in POOL) + 1


def _case(id: str) -> Case:
    own = (Document("Own", ("Nothing.", "The gold.")), Document("Title 7", ("Also own.",)))
    return Case(id, "What?", ("gold",), own, ((0, 1), (1, 0)))


def test_the_length_is_reached_and_not_exceeded() -> None:
    context = padded(_case("a"), POOL, tokens=1_000, seed=0, count=estimate_tokens)
    assert 1_000 - ONE < context.tokens <= 1_000
    assert 0.9 * context.tokens <= estimate_tokens(context.text) <= context.tokens


def test_a_small_pool_is_used_up_and_own_documents_always_stay() -> None:
    whole = padded(_case("a"), POOL, tokens=10**6, seed=0, count=estimate_tokens)
    assert len(whole.documents) == len(POOL) + 1  # "Title 7" of the pool bears the title of an own one
    assert {one.title for one in whole.documents} == {one.title for one in POOL} | {"Own"}
    alone = padded(_case("a"), POOL, tokens=1, seed=0, count=estimate_tokens)
    assert set(alone.documents) == set(_case("a").documents)


def test_evidence_points_to_the_same_sentences_after_the_shuffle() -> None:
    for seed in range(5):
        context = padded(_case("a"), POOL, tokens=1_000, seed=seed, count=estimate_tokens)
        assert [context.documents[place].sentences[at] for place, at in context.evidence] == ["The gold.", "Also own."]


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
