"""What each method shows: memories as they ship, and baselines beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memagent.environments.long_qa.dataset import Document
from memagent.environments.long_qa.dataset_files import load
from memagent.environments.long_qa.methods import DRAFT_TOKENS, ContextViews, MemoryParts, SharedPage, whole_lines
from memagent.environments.long_qa.padding import Context
from memagent.environments.long_qa.report import run
from memagent.environments.long_qa.settings import AGENT_TEXTS, DRAFT_TEXTS, KINDS, PICTURES, LongQaSettings
from memagent.environments.long_qa.visual_memory import run as run_visual_memory
from memagent.environments.long_qa.visual_memory import settings as visual_settings
from memagent.memory import load_memory
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent_renderers.budget import ReaderProfile, estimate_tokens

TOWNS = tuple(
    Document(f"Town {number}", tuple(f"Fact {number} {at} tells of a *mill*." for at in range(8))) for number in range(40)
)
CONTEXT = Context(TOWNS, ((17, 3),), 0)
QUESTION = "Which mill is told of in fact 17 3?"
PARTS = MemoryParts(
    embedder=HashEmbedder(dimension=64),
    count=estimate_tokens,
    reader=ReaderProfile("test", estimate_tokens, exact=True),
    engine="fake",
)


@pytest.fixture
def views() -> Iterator[ContextViews]:
    with ContextViews(QUESTION, CONTEXT, PARTS) as opened:
        yield opened


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds whose shipped class was asked to recall, in order."""
    found: list[str] = []
    for kind in KINDS:
        shipped = load_memory(kind)
        recall = shipped.recall

        def noted(self: Any, *args: Any, kind: str = kind, recall: Any = recall, **options: Any) -> Any:
            found.append(kind)
            return recall(self, *args, **options)

        monkeypatch.setattr(shipped, "recall", noted)
    return found


FAKES = {"reader": "fake", "engine": "fake", "embedder": None, "tokens": "estimate", "limit": 1, "budgets": (64,)}


@pytest.mark.parametrize("kind", KINDS)
def test_long_qa_measures_the_memory_that_ships(questions: Path, entered: list[str], kind: str) -> None:
    report = run(questions, LongQaSettings(methods=(kind,), lengths=("60",), **FAKES))  # type: ignore[arg-type]
    assert entered == [kind]
    assert {row.method for row in report.rows} == {kind}
    assert report.meta["failures"]["count"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_visual_memory_measures_the_memory_that_ships(questions: Path, entered: list[str], kind: str) -> None:
    run_visual_memory(questions, visual_settings(methods=(kind,), context_tokens=60, **FAKES))  # type: ignore[arg-type]
    assert set(entered) == {kind}


def test_baselines_recall_no_memory(questions: Path, entered: list[str]) -> None:
    methods = ("uniform", "shrink", "text_cut", "text_fair", "memagent", "memagent-fair", "raw")
    run(questions, LongQaSettings(methods=methods, lengths=("60",), **FAKES))  # type: ignore[arg-type]
    assert entered == []


@pytest.mark.parametrize("tokens", [16, 64, 256, 1024])
@pytest.mark.parametrize("method", [*KINDS, *PICTURES, *DRAFT_TEXTS, *AGENT_TEXTS])
def test_views_keep_their_budgets_to_the_token(views: ContextViews, method: str, tokens: int) -> None:
    view = views.view(method, tokens)
    assert view.tokens <= tokens
    assert (view.text is None) != (view.picture is None)
    if view.picture is not None:
        assert view.picture.tokens == view.tokens
        assert (len(view.picture.sizes) == 1) == (method == "uniform") or method == "memocr"
    else:
        assert estimate_tokens(view.text or "") == view.tokens


def test_a_document_is_a_message_of_a_session_of_its_own_that_its_title_speaks(views: ContextViews) -> None:
    line = views.view("rag", 64).text or ""
    assert line.startswith("[1 Jan 2000] Town 17: Fact 17")
    assert "Town 0" not in line


def test_the_page_that_baselines_share_has_tiers_and_ends_by_its_tokens(views: ContextViews) -> None:
    page = views.memory("uniform")
    assert page is not None
    assert page.startswith("## Town 17\\: Fact 17 3 tells of a \\*mill\\*\\. \\(1 Jan 2000\\)")
    draft = SharedPage.of(page, estimate_tokens)
    assert draft.markdown == page
    assert draft.lines[0].startswith("Town 17: Fact 17 3 tells of a *mill*.")
    assert DRAFT_TOKENS - 40 < estimate_tokens(draft.text) <= DRAFT_TOKENS
    assert (views.view("text_cut", 100).text or "") == draft.text[: len(views.view("text_cut", 100).text or "")]


def test_an_empty_context_shows_nothing() -> None:
    with ContextViews("What?", Context((Document("A", ("",)),), (), 0), PARTS) as views:
        for method in (*KINDS, *PICTURES, *DRAFT_TEXTS):
            assert views.view(method, 64).text == ""


def test_whole_lines_pass_over_those_that_do_not_fit() -> None:
    assert whole_lines(["a b c", "d e f g", "h i", "j"], 7, estimate_tokens) == "a b c\nh i"
    assert whole_lines(["a b c", "d e f g", "h i", "j"], 9, estimate_tokens) == "a b c\nd e f g"
    assert whole_lines(["a b c"], 2, estimate_tokens) == ""


def test_the_sentence_that_answers_leads_the_page(questions: Path) -> None:
    case = load(questions).cases[2]
    with ContextViews(case.question, Context(case.documents, case.evidence, 0), PARTS) as views:
        assert (views.view("text_cut", 256).text or "").startswith(
            "Harbour ledgers: The ledgers of the harbour were written by"
        )
