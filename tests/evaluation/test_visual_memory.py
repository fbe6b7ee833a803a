"""The visual-memory bench, whole: made-up questions, with fakes, with the real eye, cut off and taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memagent.errors import BudgetError, InputError, RenderError, UnknownName
from memagent.evaluation import arms
from memagent.evaluation.ocr_pool import EYES
from memagent.evaluation.report import Report, Row
from memagent.evaluation.runner import ResultLog
from memagent.evaluation.visual_memory import Settings, asked, run
from memagent.evaluation.visual_rows import Item, rows_of
from memagent_renderers.budget import Picture, Word
from memagent_renderers.ocr.fake import FakePictureReader

FAKES = Settings(budgets=(16, 64), context_tokens=60, eye="fake", engine="fake", embedder=None, tokens="estimate")


def _values(report: Report, arm: str, metric: str) -> dict[Any, float]:
    return {row.at: row.value for row in report.rows if (row.method, row.metric) == (arm, metric)}


def test_the_report_has_the_rows_that_others_rely_on(questions: Path) -> None:
    report = run(questions, FAKES)
    assert report.name == "visual-memory"
    for arm in arms.PICTURES:
        for metric in ("answer_shown", "evidence_shown", "legible_chars_per_token", "ocr_seconds"):
            assert set(_values(report, arm, metric)) == {16, 64}
    for arm in arms.TEXTS:
        assert set(_values(report, arm, "answer_shown")) == set(_values(report, arm, "evidence_shown")) == {16, 64, 256}
        assert not _values(report, arm, "legible_chars_per_token")
    assert set(_values(report, "fit_minus_best_text_4x", "answer_shown")) == {16, 64}
    sizes = {(row.method, row.metric): row.n for row in report.rows}
    assert sizes["fit", "answer_shown"] == 2  # yes and no are left out
    assert sizes["fit", "evidence_shown"] == 3
    assert report.meta["excluded"] == {"from_answer_shown": 1, "from_evidence_shown": 0}
    assert report.meta["failures"]["count"] == 0


def test_what_is_read_and_what_stands_in_the_text_is_what_counts(questions: Path) -> None:
    report = run(questions, FAKES)
    assert _values(report, "fit", "answer_shown")[64] == 1.0
    assert _values(report, "shrink", "answer_shown")[64] == 0.0  # the fake eye reads nothing of a picture that was resized
    assert _values(report, "text_cut", "answer_shown") == pytest.approx({16: 0.5, 64: 1.0, 256: 1.0}, abs=0.5)
    assert _values(report, "text_cut", "answer_shown")[256] == 1.0
    best = report.meta["best_text_4x"]["16"]["answer_shown"]
    paired = _values(report, "fit", "answer_shown")[16] - _values(report, best, "answer_shown")[64]
    assert _values(report, "fit_minus_best_text_4x", "answer_shown")[16] == pytest.approx(paired)


def test_every_padding_is_an_item_but_not_a_question(questions: Path, tmp_path: Path) -> None:
    report = run(questions, replace(FAKES, seeds=3, limit=1), out=tmp_path / "out")
    assert {row.n for row in report.rows if row.metric != "ocr_seconds"} == {1}
    (file,) = (tmp_path / "out").glob("items-*.jsonl")
    items = [Item.model_validate_json(line) for line in file.read_text("utf-8").splitlines()]
    assert len(items) == len({item.key for item in items}) == 3 * (3 * 2 + 3 * 3)
    assert all(item.tokens <= item.at for item in items)


def test_an_interrupted_run_is_taken_up_and_counts_nothing_twice(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(questions, FAKES, out=tmp_path / "whole")
    add, left = ResultLog.add, [20]

    def interrupted(self: ResultLog[Item], item: Item) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        add(self, item)

    monkeypatch.setattr(ResultLog, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(questions, FAKES, out=tmp_path / "cut")
    monkeypatch.undo()
    (file,) = (tmp_path / "cut").iterdir()
    assert file.read_text("utf-8").count("\n") == 20
    with file.open("a") as opened:
        opened.write('{"case": "q3", "se')
    again = run(questions, FAKES, out=tmp_path / "cut")
    assert _without_seconds(again) == _without_seconds(whole)
    lines = [line for line in file.read_text("utf-8").splitlines() if line.endswith("}")]
    assert len(lines) == 3 * (3 * 2 + 3 * 3)
    assert run(questions, FAKES, out=tmp_path / "cut").rows == again.rows  # seconds too: nothing was read once more


def _without_seconds(report: Report) -> list[Row]:
    return [row for row in report.rows if row.metric != "ocr_seconds"]


def test_more_budgets_go_on_from_fewer(questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(questions, replace(FAKES, budgets=(16,)), out=tmp_path)
    drawn: list[int] = []
    picture = arms.picture
    monkeypatch.setattr(arms, "picture", lambda *args: drawn.append(args[2].tokens) or picture(*args))
    run(questions, FAKES, out=tmp_path)
    assert set(drawn) == {64}


def test_checklist_25_failed_items_count_as_zero(questions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(questions, FAKES)
    picture = arms.picture

    def failing(arm: str, markdown: str, *rest: Any) -> Picture:
        if arm == "fit" and "Margaret" in markdown.partition("\n")[0]:
            raise RenderError("made to fail")
        return picture(arm, markdown, *rest)

    monkeypatch.setattr(arms, "picture", failing)
    report = run(questions, FAKES)
    assert report.meta["failures"]["count"] == 2
    assert "made to fail" in report.meta["failures"]["first"][0]
    assert _values(before, "fit", "answer_shown")[64] == 1.0
    assert _values(report, "fit", "answer_shown")[64] == 0.5
    assert [row.n for row in report.rows] == [
        row.n - 1 * (row.method == "fit" and row.metric == "ocr_seconds") for row in before.rows
    ]


def test_an_eye_that_stumbles_fails_its_item_only(questions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stumbling(FakePictureReader):
        def read(self, picture: Picture) -> list[Word]:
            if picture.tokens > 16:
                raise OSError("dazzled")
            return super().read(picture)

    monkeypatch.setitem(EYES, "fake", Stumbling)
    report = run(questions, FAKES)
    assert report.meta["failures"]["count"] > 0
    assert "OSError: dazzled" in report.meta["failures"]["first"][0]
    assert _values(report, "fit", "answer_shown")[64] < 1.0


def test_a_value_missing_for_a_question_leaves_it_out() -> None:
    def item(case: str, arm: str, at: int, answer: float | None) -> Item:
        return Item(case=case, seed=0, arm=arm, at=at, answer=answer)

    items = [
        item(case, arm, at, answer)
        for arm, at in [("fit", 16), *((arm, 64) for arm in arms.TEXTS)]
        for case, answer in (("a", 1.0), ("b", None))
    ]
    rows = {(row.method, row.metric): row for row in rows_of(items, [16])}
    assert rows["fit", "answer_shown"].n == 1
    assert ("fit", "evidence_shown") not in rows
    assert rows["fit_minus_best_text_4x", "answer_shown"].value == 0.0


def test_answers_that_stand_anywhere_or_nowhere_are_not_asked_for(questions: Path) -> None:
    from memagent.environments.long_qa.dataset_files import load

    case = load(questions).cases[0]
    assert [asked(replace(case, answers=(answer,))) for answer in ("Yes", "no.", "the", "", "No Doubt")] == [False] * 4 + [True]
    assert not asked(replace(case, answers=("Ghent", "no")))


def test_the_draft_is_described(questions: Path) -> None:
    report = run(questions, FAKES)
    draft = report.meta["draft"]
    assert draft["answer_in_context"] == draft["answer_in_draft"] == 1.0
    precision = draft["evidence_precision"]
    assert precision["crucial"] == precision["h2"]
    assert 0 < precision["detailed"]["precision"] < precision["crucial"]["precision"] <= 1
    assert report.meta["settings"]["text_tokens_counted_by"] == "estimate"


def test_settings_that_cannot_work_are_refused_at_once() -> None:
    with pytest.raises(BudgetError):
        Settings(budgets=(1,))
    with pytest.raises(InputError, match="seeds is 1 or more"):
        Settings(seeds=0)
    with pytest.raises(InputError, match="at least one budget"):
        Settings(budgets=())


def test_names_that_nobody_has(questions: Path) -> None:
    with pytest.raises(UnknownName, match="ocr, calibrated"):
        run(questions, replace(FAKES, eye="eagle"))
    with pytest.raises(UnknownName, match="ranked, salience"):
        run(questions, replace(FAKES, drafter="poet"))
    with pytest.raises(UnknownName, match="estimate"):
        run(questions, replace(FAKES, tokens="abacus"))


def test_the_command_with_the_real_engine_and_the_real_eye(questions: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    from memagent.cli.bench import app

    command = ["visual-memory", "--data", str(questions), "--budgets", "16", "--limit", "1", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exception is None, result.output
    report = Report.model_validate(json.loads(result.stdout))
    assert _values(report, "fit", "answer_shown") == {16: 1.0}
    assert _values(report, "fit", "legible_chars_per_token")[16] > 10
    assert _values(report, "fit", "ocr_seconds")[16] > 0
    assert (tmp_path / "visual-memory.json").exists()


@pytest.mark.slow
def test_a_calibrated_eye_is_compared_with_the_real_one(questions: Path) -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    report = run(questions, Settings(budgets=(16,), context_tokens=60, eye="calibrated", embedder=None, tokens="estimate"))
    compared = report.meta["eye_agreement"]
    assert compared["pictures"] == 9
    assert compared["calibrated"] == pytest.approx(compared["real"], abs=0.15)


@pytest.mark.slow
def test_real_questions_can_be_answered_from_their_drafts(hotpotqa: Path) -> None:
    report = run(hotpotqa, replace(FAKES, context_tokens=10_000, limit=10))
    assert report.meta["draft"]["answer_in_context"] == 1.0
    assert report.meta["draft"]["answer_in_draft"] >= 0.8
    assert _values(report, "text_cut", "answer_shown")[16] < _values(report, "text_cut", "answer_shown")[256]
