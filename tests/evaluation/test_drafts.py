"""One ranking and one draft for every method, and the ways of showing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent.environments.long_qa.dataset import Document
from memagent.environments.long_qa.dataset_files import load
from memagent.errors import UnknownName
from memagent.evaluation import arms
from memagent.evaluation.drafts import DRAFT_TOKENS, DRAFTERS, Drafting, titled
from memagent.evaluation.ranking import Ranker
from memagent.retrieval.embedders.base import Vectors
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent_renderers.budget import Budget, estimate_tokens
from memagent_renderers.document import parse
from memagent_renderers.engines.fake import FakeEngine

MANY = [Document(f"Town {number}", tuple(f"Fact {number} {at} tells of a *mill*." for at in range(8))) for number in range(40)]


def test_the_sentence_that_answers_ranks_first(questions: Path) -> None:
    case = load(questions).cases[2]
    best, *rest = Ranker(None).rank(case.question, case.documents)
    assert (best.document, best.sentence) == (0, 0)
    assert len(rest) == 2
    assert best.score > rest[0].score >= rest[1].score


def test_words_and_meaning_count_alike() -> None:
    documents = [Document("A", ("A mill by the river.", "Nothing.")), Document("B", ("Windmills.", "Nought.", "", "Else."))]

    class Meaning:
        """Knows that the question means windmills; counts what it is asked."""

        id, dimension, seen = "meaning", 2, 0

        def embed(self, texts: list[str], *, role: str = "passage") -> Vectors:
            import numpy as np

            self.seen += len(texts)
            return np.array([[1, 0] if "Windmills" in text or text == "What mill?" else [0, 1] for text in texts], np.float32)

    meaning = Meaning()
    ranker = Ranker(meaning)  # type: ignore[arg-type]
    ranked = ranker.rank("What mill?", documents)
    assert {ranked[0][:2], ranked[1][:2]} == {(0, 0), (1, 0)}
    assert ranked[0].score == pytest.approx(ranked[1].score, abs=0.01)
    assert len(ranked) == 5
    seen = meaning.seen
    assert ranker.rank("What mill?", documents) == ranked
    assert meaning.seen == seen == 6
    assert Ranker(None).rank("What mill?", documents)[0][:2] == (0, 0)
    assert Ranker(None).rank("What mill?", [Document("A", ("",))]) == []


def test_a_line_is_understood_alone() -> None:
    assert titled("Tom Ferris", "He moved.") == "Tom Ferris: He moved."
    assert titled("Tom Ferris (sailor)", "Ferris, Tom moved.") == "Ferris, Tom moved."
    assert titled("Tom Ferris", " ") == ""


@pytest.mark.parametrize("name", DRAFTERS)
def test_a_draft_has_tiers_and_an_end(name: str) -> None:
    drafting = Drafting(name, HashEmbedder(dimension=64), estimate_tokens)
    draft = drafting.draft("Which mill is told of in fact 17 3?", MANY)
    blocks = parse(draft.markdown)
    assert [block.text for block in blocks] == draft.texts  # every mark of Markdown in the text is escaped
    tiers = [block.tier for block in blocks]
    assert tiers[:5] == ["h2", "bold", "bold", "bold", "bold"]
    assert sorted(tiers[1:], key=("bold", "body", "small").index) == tiers[1:]
    assert "Fact 17 3 tells" in draft.texts[0]
    assert estimate_tokens(draft.text) <= draft.tokens <= DRAFT_TOKENS
    assert draft == drafting.draft("Which mill is told of in fact 17 3?", MANY)
    assert not drafting.draft("What?", []).lines


def test_the_plain_draft_ends_by_its_tokens() -> None:
    draft = Drafting("ranked", None, estimate_tokens).draft("mill", MANY)
    assert DRAFT_TOKENS - 40 < draft.tokens <= DRAFT_TOKENS
    assert {line.tier for line in draft.lines} == {"heading", "bold", "body", "small"}


def test_a_drafter_has_a_name() -> None:
    with pytest.raises(UnknownName, match="ranked, salience"):
        Drafting("model", None, estimate_tokens)


@pytest.mark.parametrize("tokens", [1, 7, 16, 64, 256, 1024])
def test_text_arms_keep_their_budgets_to_the_token(tokens: int) -> None:
    draft = Drafting("ranked", None, estimate_tokens).draft("mill", MANY)
    for arm in arms.TEXTS:
        assert estimate_tokens(arms.text(arm, draft, MANY, tokens, estimate_tokens)) <= tokens
    for arm in ("text_cut", "rag"):
        assert estimate_tokens(arms.text(arm, draft, MANY, tokens, estimate_tokens)) == tokens


def test_text_cut_is_the_start_of_the_draft() -> None:
    draft = Drafting("ranked", None, estimate_tokens).draft("mill", MANY)
    assert draft.text.startswith(arms.text("text_cut", draft, MANY, 100, estimate_tokens))


def test_text_fair_takes_whole_lines_and_passes_over_those_that_do_not_fit() -> None:
    assert arms.whole_lines(["a b c", "d e f g", "h i", "j"], 7, estimate_tokens) == "a b c\nh i\nj".removesuffix("\nj")
    assert arms.whole_lines(["a b c", "d e f g", "h i", "j"], 9, estimate_tokens) == "a b c\nd e f g"
    assert arms.whole_lines(["a b c"], 2, estimate_tokens) == ""


def test_rag_shows_documents_from_their_start_best_first(questions: Path) -> None:
    case = load(questions).cases[0]
    draft = Drafting("ranked", None, estimate_tokens).draft("Where did Tom Ferris move to?", case.documents)
    text = arms.text("rag", draft, case.documents, 1000, estimate_tokens)
    assert text.startswith("Tom Ferris\nTom Ferris repaired clocks in winter. He moved to Port Carrick in 1934.\n\n")


def test_a_cut_is_right_for_tokenizers_that_join() -> None:
    def joining(text: str) -> int:
        return len(text) - 2 * text.count("abc")

    assert joining(arms.cut("abcabcxxxx", 3, joining)) == 3
    assert joining(arms.cut("ab" * 40 + "c", 5, joining)) <= 5


@pytest.mark.parametrize("arm", arms.PICTURES)
@pytest.mark.parametrize("tokens", [16, 64])
def test_picture_arms_keep_their_budgets(arm: str, tokens: int) -> None:
    draft = Drafting("ranked", None, estimate_tokens).draft("mill", MANY)
    picture = arms.picture(arm, draft.markdown, Budget(tokens), FakeEngine())
    assert picture.tokens == picture.width * picture.height // 784 <= tokens
    assert (len(picture.sizes) == 1) == (arm == "uniform") or arm == "fit"
