"""The visual-memory bench, whole: made-up questions, with fakes and with the real reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memagent.environments.long_qa.dataset_files import load
from memagent.environments.long_qa.methods import ContextViews, View
from memagent.environments.long_qa.results import ContextFacts, Prediction, answer_can_be_shown
from memagent.environments.long_qa.settings import DRAFT_TEXTS, PICTURES
from memagent.environments.long_qa.visual_memory import METHODS, PAIRED, rows_of, run, settings
from memagent.errors import BudgetError, UnknownName
from memagent.evaluation.ocr_pool import READERS
from memagent.evaluation.report import Report, Row
from memagent.evaluation.runner import ResultLog
from memagent_renderers.budget import Picture, Word
from memagent_renderers.ocr.fake import FakePictureReader

FAKES = settings(
    budgets=(16, 64), context_tokens=60, reader="fake", engine="fake", embedder=None, tokens="estimate", concurrency=1
)
DRAWN = ("memocr", *PICTURES)
TEXTS = ("rag", "notes", "long_context", *DRAFT_TEXTS)
RECORDS = 3 * (3 * 2 + 5 * 3)


def _values(report: Report, method: str, metric: str) -> dict[Any, float]:
    return {row.at: row.value for row in report.rows if (row.method, row.metric) == (method, metric)}


def test_the_report_has_the_rows_that_others_rely_on(questions: Path) -> None:
    report = run(questions, FAKES)
    assert report.name == "visual-memory"
    assert set(METHODS) == {*DRAWN, *TEXTS}
    for method in DRAWN:
        for metric in ("answer_shown", "evidence_shown", "legible_chars_per_token", "ocr_seconds"):
            assert set(_values(report, method, metric)) == {16, 64}
    for method in TEXTS:
        assert set(_values(report, method, "answer_shown")) == set(_values(report, method, "evidence_shown")) == {16, 64, 256}
        assert not _values(report, method, "legible_chars_per_token")
    assert set(_values(report, PAIRED, "answer_shown")) == {16, 64}
    sizes = {(row.method, row.metric): row.n for row in report.rows}
    assert sizes["memocr", "answer_shown"] == 2  # yes and no are left out
    assert sizes["memocr", "evidence_shown"] == 3
    assert report.meta["excluded"] == {"from_answer_shown": 1, "from_evidence_shown": 0}
    assert report.meta["failures"]["count"] == 0


def test_what_is_read_and_what_stands_in_the_text_is_what_counts(questions: Path) -> None:
    report = run(questions, FAKES)
    assert _values(report, "memocr", "answer_shown")[64] == 1.0
    assert _values(report, "shrink", "answer_shown")[64] == 0.0  # the fake reads nothing of a picture that was resized
    assert _values(report, "text_cut", "answer_shown")[256] == 1.0
    best = report.meta["best_text_4x"]["16"]["answer_shown"]
    paired = _values(report, "memocr", "answer_shown")[16] - _values(report, best, "answer_shown")[64]
    assert _values(report, PAIRED, "answer_shown")[16] == pytest.approx(paired)


def test_the_draft_is_described(questions: Path) -> None:
    report = run(questions, FAKES)
    draft = report.meta["draft"]
    assert report.meta["context"]["answer_in_context"] == draft["answer_in_draft"] == 1.0
    precision = draft["evidence_precision"]
    assert precision["crucial"] == precision["h2"]
    assert 0 < precision["detailed"]["precision"] < precision["crucial"]["precision"] <= 1
    assert report.meta["settings"]["tokens"] == "estimate"


def test_an_interrupted_run_is_taken_up_and_reads_nothing_once_more(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(questions, FAKES, out=tmp_path / "whole")
    add, left = ResultLog.add, [20]

    def interrupted(self: ResultLog[Prediction], item: Prediction) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        add(self, item)

    monkeypatch.setattr(ResultLog, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(questions, FAKES, out=tmp_path / "cut")
    monkeypatch.undo()
    (file,) = (tmp_path / "cut").glob("items-*.jsonl")
    assert file.read_text("utf-8").count("\n") == 20
    again = run(questions, FAKES, out=tmp_path / "cut")
    assert _without_seconds(again) == _without_seconds(whole)
    assert file.read_text("utf-8").count("\n") == RECORDS
    assert run(questions, FAKES, out=tmp_path / "cut").rows == again.rows  # seconds too


def _without_seconds(report: Report) -> list[Row]:
    return [row for row in report.rows if row.metric != "ocr_seconds"]


def test_more_budgets_go_on_from_fewer(questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(questions, replace(FAKES, budgets=(16,)), out=tmp_path)
    shown: list[tuple[str, int]] = []
    show = ContextViews.view

    def noted(self: ContextViews, method: str, tokens: int) -> View:
        shown.append((method, tokens))
        return show(self, method, tokens)

    monkeypatch.setattr(ContextViews, "view", noted)
    run(questions, FAKES, out=tmp_path)
    assert {tokens for method, tokens in shown if method in DRAWN} == {64}
    assert {tokens for method, tokens in shown if method in TEXTS} == {256}


def test_a_reader_that_stumbles_fails_its_item_only(questions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stumbling(FakePictureReader):
        def read(self, picture: Picture) -> list[Word]:
            if picture.tokens > 16:
                raise OSError("dazzled")
            return super().read(picture)

    monkeypatch.setitem(READERS, "fake", Stumbling)
    report = run(questions, FAKES)
    assert report.meta["failures"]["count"] > 0
    assert "OSError: dazzled" in report.meta["failures"]["first"][0]
    assert _values(report, "memocr", "answer_shown")[64] < 1.0


def test_a_value_missing_for_a_question_leaves_it_out() -> None:
    facts = ContextFacts(tokens=1, documents=1, complete=True, answer=None)

    def record(case: str, method: str, at: int, answer: float | None) -> Prediction:
        scores = {} if answer is None else {"answer_shown": answer}
        key = {"case": case, "seed": 0, "length": "60", "method": method, "at": at}
        return Prediction(**key, question="?", golds=("x",), context=facts, scores=scores)

    records = [
        record(case, method, at, answer)
        for method, at in [("memocr", 16), *((method, 64) for method in TEXTS)]
        for case, answer in (("a", 1.0), ("b", None))
    ]
    rows = {(row.method, row.metric): row for row in rows_of(records, [16])}
    assert rows["memocr", "answer_shown"].n == 1
    assert ("memocr", "evidence_shown") not in rows
    assert rows[PAIRED, "answer_shown"].value == 0.0


def test_answers_that_stand_anywhere_or_nowhere_are_not_looked_for(questions: Path) -> None:
    example = load(questions).cases[0]
    asked = [answer_can_be_shown(replace(example, answers=(answer,))) for answer in ("Yes", "no.", "the", "", "No Doubt")]
    assert asked == [False] * 4 + [True]
    assert not answer_can_be_shown(replace(example, answers=("Ghent", "no")))


def test_what_cannot_work_is_refused(questions: Path) -> None:
    with pytest.raises(BudgetError):
        settings(budgets=(1,))
    with pytest.raises(UnknownName, match="ocr, simulated"):
        run(questions, replace(FAKES, reader="eagle"))
    with pytest.raises(UnknownName, match="estimate"):
        run(questions, replace(FAKES, tokens="abacus"))


@pytest.mark.slow
def test_the_command_with_the_real_engine_and_the_real_reader(questions: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    from memagent.cli.bench import app

    command = ["visual-memory", "--data", str(questions), "--budgets", "16", "--limit", "1", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exception is None, result.output
    report = Report.model_validate(json.loads(result.stdout))
    assert _values(report, "memocr", "legible_chars_per_token")[16] > 10
    assert _values(report, "memocr", "ocr_seconds")[16] > 0
    assert (tmp_path / "visual-memory.json").exists()


@pytest.mark.slow
def test_a_simulated_reader_is_compared_with_the_real_one_after_the_report_is_saved(questions: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    chosen = settings(budgets=(16,), context_tokens=60, reader="simulated", embedder=None, tokens="estimate")
    report = run(questions, chosen, out=tmp_path, compare_ocr=20)
    compared = report.meta["ocr_agreement"]
    assert compared["pictures"] == 9
    assert compared["calibrated"] == pytest.approx(compared["real"], abs=0.15)
    first = Report.model_validate_json((tmp_path / "visual-memory.json").read_text("utf-8"))
    assert (first.rows, first.meta["ocr_agreement"]) == (report.rows, None)


@pytest.mark.slow
def test_real_questions_can_be_answered_from_their_drafts(hotpotqa: Path) -> None:
    report = run(hotpotqa, replace(FAKES, lengths=("10000",), limit=10))
    assert report.meta["context"]["answer_in_context"] == 1.0
    assert report.meta["draft"]["answer_in_draft"] >= 0.8
    assert _values(report, "text_cut", "answer_shown")[16] < _values(report, "text_cut", "answer_shown")[256]
