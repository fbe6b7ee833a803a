"""The long-qa bench, whole: without a model, with fakes, cut off and taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_questions import SAMPLES
from typer.testing import CliRunner

from memagent.cli.bench import app
from memagent.environments.long_qa.methods import ContextViews, View
from memagent.environments.long_qa.report import LongQaReport, run
from memagent.environments.long_qa.results import Prediction
from memagent.environments.long_qa.settings import METHODS, LongQaSettings
from memagent.errors import ConfigError, InputError, ModelError, RenderError, UnknownName
from memagent.models.base import Request
from memagent.models.cached import CallCache
from memagent.models.fake import FakeModel

FAKES = LongQaSettings(
    budgets=(64, 16), lengths=("60", "10K"), reader="fake", engine="fake", embedder=None, tokens="estimate", concurrency=2
)
ITEMS = 3 * 2 * (7 * 2 + 1)
"""Three questions, two lengths, seven methods within two budgets and `raw`."""


def _items(folder: Path) -> list[Prediction]:
    (file,) = folder.glob("items-*.jsonl")
    return [Prediction.model_validate_json(line) for line in file.read_text("utf-8").split("\n") if line.endswith("}")]


def _values(report: LongQaReport, method: str, metric: str, length: str = "60") -> dict[Any, float]:
    rows = [row for row in report.rows if (row.method, row.metric, row.length) == (method, metric, length)]
    return {row.at: row.value for row in rows}


def test_without_a_model_it_counts_what_is_shown_and_says_so(questions: Path, tmp_path: Path) -> None:
    report = run(questions, FAKES, out=tmp_path)
    assert {row.method for row in report.rows if " - " not in row.method} == set(METHODS)
    assert {row.metric for row in report.rows} == {"answer_shown"}
    assert {row.n for row in report.rows} == {2}  # yes and no are left out
    assert report.meta["without_answer_shown"] == 1
    assert "no model answered" in report.remarks()[0]
    assert _values(report, "raw", "answer_shown") == {120_000: 1.0}
    for method in ("memocr", "uniform", "memagent"):
        assert _values(report, method, "answer_shown")[64] == 1.0
        assert set(_values(report, method, "answer_shown")) == {64, 16}
    items = _items(tmp_path)
    assert len(items) == ITEMS
    assert all(item.tokens <= item.at for item in items)
    assert all(item.reply is None and item.prediction is None and item.error is None for item in items)


def test_contexts_that_the_file_cannot_fill_are_told(questions: Path) -> None:
    report = run(questions, replace(FAKES, methods=("rag",)))
    assert report.meta["contexts"]["60"]["short"] == 0
    whole = report.meta["contexts"]["10K"]
    assert whole["short"] == whole["contexts"] == 3
    assert whole["tokens_mean"] < 300
    assert any(remark.startswith("10K: 3 of 3 contexts are shorter") for remark in report.remarks())
    assert not any(remark.startswith("60:") for remark in report.remarks())


def test_a_pool_fills_them(questions: Path, tmp_path: Path) -> None:
    passage = {"title": "Weaving", "text": "Silk is woven on looms of oak. " * 20}
    pool = tmp_path / "pool.jsonl"
    pool.write_text("\n".join(json.dumps(passage | {"title": f"Weaving {number}"}) for number in range(80)), "utf-8")
    report = run(questions, replace(FAKES, methods=("rag",), lengths=("10K",)), pool=pool)
    facts = report.meta["contexts"]["10K"]
    assert facts["short"] == 0
    assert 9_500 < facts["tokens_least"] <= facts["tokens_mean"] <= 10_000


def test_published_numbers_stand_beside_ours_and_in_no_row(questions: Path) -> None:
    report = run(questions, FAKES)
    (title, rows), *_ = [table for table in report.tables() if table[0].startswith("10K")]
    published = {cells[0]: cells[1:] for cells in rows if cells[0].startswith("published")}
    assert title.startswith("10K (")
    assert published["published: MemOCR"] == ("0.776", "0.672")
    assert published["published: MemAgent"] == ("0.508", "0.240")
    assert not any(row.method.startswith("published") for row in report.rows)
    assert any("65.8" in remark and "70.2" in remark and "`answer_shown` is not" in remark for remark in report.remarks())
    assert report.meta["published"]["60"] == {}


def test_a_model_answers_and_is_scored_by_every_metric(questions: Path, tmp_path: Path) -> None:
    salience = replace(FAKES, drafter="salience")
    report = run(questions, salience, model=FakeModel("I think it is \\boxed{Port Carrick}"), out=tmp_path)
    for method in METHODS:
        for metric in ("em", "f1", "sub_em", "strict_sub_em"):
            assert list(_values(report, method, metric).values()) == pytest.approx([1 / 3] * (1 if method == "raw" else 2))
    assert report.meta["scored_by"].startswith("the answers of fake")
    heads = {title: [cells[0] for cells in rows if "published" in cells[0]] for title, rows in report.tables()}
    assert [bool(found) for title, found in heads.items() if title.startswith("10K")] == [True, False]  # none of them is strict
    item = next(item for item in _items(tmp_path) if item.case == "q1" and item.method == "memocr")
    assert item.reply == "I think it is \\boxed{Port Carrick}"
    assert (item.question, item.golds) == (SAMPLES[0]["question"], ("Port Carrick",))
    assert (item.prediction, item.scores["em"]) == ("Port Carrick", 1.0)
    assert item.usage.calls == 1


def test_an_answer_without_a_box_is_wrong_and_counted(questions: Path) -> None:
    report = run(questions, replace(FAKES, methods=("rag",)), model=FakeModel("Port Carrick"))
    assert set(_values(report, "rag", "sub_em").values()) == {0.0}
    assert report.meta["without_box"] == {"rag": 3 * 2 * 2}


def test_the_fake_model_writes_the_memories_and_reads_what_ocr_read(questions: Path, tmp_path: Path) -> None:
    report = run(questions, FAKES, model=FakeModel(), out=tmp_path)
    assert report.meta["settings"]["drafter"] == "model"
    items = {item.key: item for item in _items(tmp_path) if item.case == "q3" and item.length == "60"}
    found = {item.method: item for item in items.values() if item.at in (64, 8192, 120_000)}
    for method in ("memocr", "memagent"):
        assert "The ledgers of the harbour were written by Margaret Hale." in " ".join((found[method].shown or "").split())
    assert found["memagent"].scores["strict_sub_em"] == 1.0
    assert found["raw"].shown is None
    assert found["raw"].scores["strict_sub_em"] == 1.0


def test_a_model_that_sees_gets_the_picture_itself(questions: Path, tmp_path: Path) -> None:
    seen: list[Request] = []

    class Watching(FakeModel):
        def _say(self, request: Request) -> str:
            seen.append(request)
            return "\\boxed{Port Carrick}"

    settings = replace(FAKES, methods=("memocr", "memagent"), drafter="salience", limit=1, lengths=("60",))
    report = run(questions, settings, model=Watching(sees_images=True), out=tmp_path)
    assert [len(request.messages[0].images) for request in seen] == [0, 0, 1, 1]
    assert all("Selden" not in request.messages[0].text.split("</problem>")[1] for request in seen[2:])
    assert report.meta["settings"]["reader"] == "the model"
    assert _values(report, "memocr", "sub_em") == {64: 1.0, 16: 1.0}
    assert not _values(report, "memocr", "answer_shown")  # what it read, nobody knows
    assert _values(report, "memagent", "answer_shown")


def test_failed_items_count_as_zero_and_resuming_counts_none_twice(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(questions, FAKES)
    show = ContextViews.view

    def failing(self: ContextViews, method: str, tokens: int) -> View:
        if method == "memocr" and "ledgers" in self.question:
            raise RenderError("made to fail")
        return show(self, method, tokens)

    monkeypatch.setattr(ContextViews, "view", failing)
    report = run(questions, FAKES, out=tmp_path)
    monkeypatch.undo()
    assert report.meta["failures"]["count"] == 2 * 2
    assert report.meta["failures"]["by_method"] == {"memocr": 4}
    assert "RenderError: made to fail" in report.meta["failures"]["first"][0]
    assert any(remark.startswith(f"4 of {ITEMS} items failed and count as 0") for remark in report.remarks())
    assert _values(before, "memocr", "answer_shown")[64] == 1.0
    assert _values(report, "memocr", "answer_shown")[64] == 0.5
    assert [row.n for row in report.rows] == [row.n for row in before.rows]
    # taken up again, the failed ones alone are done once more, and nothing counts twice
    again = run(questions, FAKES, out=tmp_path)
    assert again.rows == before.rows
    assert len(_items(tmp_path)) == ITEMS + 4
    assert again.meta["failures"]["count"] == 0


def test_a_model_that_fails_costs_its_items_only(questions: Path) -> None:
    class Stumbling(FakeModel):
        def _say(self, request: Request) -> str:
            if "Selden" in request.messages[-1].text.partition("</problem>")[0]:
                raise ModelError("dazzled", retryable=False)
            return "\\boxed{Margaret Hale}"

    report = run(questions, replace(FAKES, methods=("rag", "memagent")), model=Stumbling())
    assert report.meta["failures"]["by_method"] == {"rag": 4, "memagent": 4}
    assert list(_values(report, "rag", "em").values()) == pytest.approx([1 / 3] * 2)


def test_a_memory_that_cannot_be_written_fails_all_that_needs_it_and_is_not_tried_again(questions: Path) -> None:
    asked: list[str] = []

    class Mute(FakeModel):
        def _say(self, request: Request) -> str:
            asked.append(request.messages[0].text)
            raise ModelError("no tongue", retryable=False)

    report = run(questions, replace(FAKES, methods=("memocr", "uniform"), limit=1, lengths=("60",)), model=Mute())
    assert report.meta["failures"]["by_method"] == {"memocr": 2, "uniform": 2}
    assert len(asked) == 1


def test_a_model_that_nobody_may_call_stops_the_run(questions: Path, tmp_path: Path) -> None:
    class Locked(FakeModel):
        def _say(self, request: Request) -> str:
            raise ConfigError("wrong key")

    with pytest.raises(ConfigError, match="wrong key"):
        run(questions, FAKES, model=Locked(), out=tmp_path)


def test_another_setting_has_another_file(questions: Path, tmp_path: Path) -> None:
    first = run(questions, FAKES, out=tmp_path)
    more = run(questions, replace(FAKES, budgets=(64, 32), lengths=("60",), limit=2, methods=("rag",)), out=tmp_path)
    assert first.meta["fingerprint"] == more.meta["fingerprint"]  # which items there are changes none of them
    assert len(list(tmp_path.glob("items-*.jsonl"))) == 1
    for other in (replace(FAKES, reader="simulated", engine="embedded"), replace(FAKES, window=5000)):
        assert run(questions, other, out=tmp_path).meta["fingerprint"] != first.meta["fingerprint"]
    model = run(questions, FAKES, model=FakeModel(), out=tmp_path)
    assert len(list(tmp_path.glob("items-*.jsonl"))) == 4
    assert model.meta["fingerprint"] not in (first.meta["fingerprint"], more.meta["fingerprint"])


def test_paddings_of_a_question_are_items_but_one_value(questions: Path, tmp_path: Path) -> None:
    report = run(questions, replace(FAKES, seeds=3, limit=1, lengths=("60",)), out=tmp_path)
    assert {row.n for row in report.rows} == {1}
    assert len(_items(tmp_path)) == 3 * 15


def test_replies_are_paid_once(questions: Path, tmp_path: Path) -> None:
    run(questions, FAKES, model=FakeModel(), out=tmp_path)
    (file,) = tmp_path.glob("items-*.jsonl")
    file.unlink()

    class Silent(FakeModel):
        def _say(self, request: Request) -> str:
            raise AssertionError("a reply that was there was asked for again")

    report = run(questions, FAKES, model=Silent(), out=tmp_path)
    assert report.meta["failures"]["count"] == 0
    with CallCache(tmp_path) as cache:
        assert cache.total().calls > ITEMS / 2


# -- the command ------------------------------------------------------------------------------------------------------

COMMAND = ("--reader", "simulated", "--embedder", "none", "--lengths", "60", "--budgets", "64,16")


def test_the_command_without_a_model(questions: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["long-qa", str(questions), "--offline", *COMMAND, "--out", str(tmp_path)])
    assert result.exception is None, result.output
    head, *rows = result.stdout.splitlines()
    assert head.startswith("60 (")
    assert rows[0].split() == ["method", "64", "16"]
    assert [row.split()[0].rstrip(",") for row in rows[1:9]] == list(METHODS)
    assert "no model answered" in result.stdout
    assert "0 of 45 items failed" in result.stdout
    saved = LongQaReport.model_validate_json((tmp_path / "long-qa.json").read_text("utf-8"))
    assert saved.tables()[0][1][0] == ("method", "64", "16")
    assert "| memocr |" in (tmp_path / "long-qa.md").read_text("utf-8")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert (tmp_path / "long-qa.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_with_the_fake_model_prints_one_json_object(questions: Path) -> None:
    result = CliRunner().invoke(app, ["long-qa", str(questions), "-m", "fake", *COMMAND, "--json"])
    assert result.exception is None, result.output
    report = LongQaReport.model_validate(json.loads(result.stdout))
    assert {row.metric for row in report.rows} == {"sub_em", "strict_sub_em", "em", "f1", "answer_shown"}
    assert report.meta["scored_by"].startswith("the answers of fake")
    assert _values(report, "memagent", "strict_sub_em")[64] > 0
    assert _values(report, "memocr", "answer_shown")[64] > 0


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        ((), InputError, "say who answers"),
        (("--offline", "-m", "fake"), InputError, "one of the two"),
        (("--offline", "--methods", "memocr,magic"), UnknownName, "no method of this bench named 'magic'"),
        (("--offline", "--methods", "rag,rag"), InputError, "named once"),
        (("--offline", "--lengths", "long"), InputError, "2500 or 10K"),
        (("--offline", "--documents", "--lengths", "20K"), InputError, "10K, 30K, 100K"),
        (("--offline", "--budgets", "few"), InputError, "such as 64,16"),
        (("--offline", "--drafter", "model"), InputError, "needs a model"),
        (("--offline", "--seeds", "0"), InputError, "seeds is 1 or more"),
        (("-m", "fake", "--window", "10"), None, None),
    ],
)
def test_what_cannot_be_is_refused(
    questions: Path, flags: tuple[str, ...], error: type[Exception] | None, message: str | None
) -> None:
    given = COMMAND if "--lengths" not in flags and "--budgets" not in flags else ()
    result = CliRunner().invoke(app, ["long-qa", str(questions), *given, *flags])
    if error is None:  # a window without room for a context fails `raw`, and only that
        assert "3 of 45 items failed" in result.stdout
        assert "has no room for a context" in result.stdout
        return
    assert isinstance(result.exception, error)
    assert message is not None
    assert message in str(result.exception)


def test_documents_as_the_paper_counts_them(questions: Path) -> None:
    report = run(questions, replace(FAKES, methods=("rag",), lengths=("10K",), by_documents=True))
    assert report.meta["contexts"]["10K"]["documents_mean"] == 7.0  # all there are, of 50
    assert report.meta["contexts"]["10K"]["short"] == 3


# -- killed -----------------------------------------------------------------------------------------------------------


def _many(path: Path, number: int) -> Path:
    """The made-up questions over and over, each with an id of its own."""
    samples = [sample | {"id": f"{sample['id']}-{round}"} for round in range(number) for sample in SAMPLES]
    path.write_text("\n".join(map(json.dumps, samples)), "utf-8")
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_goes_on_and_counts_nothing_twice(tmp_path: Path) -> None:
    data, out = _many(tmp_path / "many.jsonl", 20), tmp_path / "out"
    arguments = ["long-qa", str(data), "--offline", *COMMAND, "--methods", "memocr,memagent,rag", "--json", "--out"]
    whole = CliRunner().invoke(app, [*arguments, str(tmp_path / "whole")])
    command = [sys.executable, "-m", "memagent.cli.main", "bench", *arguments, str(out)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
    try:
        deadline = time.monotonic() + 120
        while sum(file.read_bytes().count(b"\n") for file in out.glob("items-*.jsonl")) < 20:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    before = len(_items(out))
    again = CliRunner().invoke(app, [*arguments, str(out)])
    items = _items(out)
    assert 20 <= before < len(items)
    assert len(items) == len({item.key for item in items}) == 60 * 3 * 2
    ours, theirs = (LongQaReport.model_validate(json.loads(one.stdout)) for one in (again, whole))
    assert ours.rows == theirs.rows
    assert ours.tables() == theirs.tables()
    assert ours.meta["fingerprint"] == theirs.meta["fingerprint"]


@pytest.mark.slow
def test_real_questions_fill_10k_and_not_200k(hotpotqa: Path) -> None:
    settings = replace(FAKES, limit=10, lengths=("10K", "200K"), methods=("memocr", "memagent", "raw"))
    report = run(hotpotqa, settings)
    ten, more = (report.meta["contexts"][length] for length in ("10K", "200K"))
    assert ten["short"] == 0
    assert 9_500 < ten["tokens_mean"] <= 10_000
    assert more["short"] == 10
    assert 110_000 < more["tokens_least"] <= more["tokens_mean"] < 130_000  # all there is, as this test counts
    assert _values(report, "raw", "answer_shown", "10K") == {120_000: 1.0}
    assert _values(report, "memagent", "answer_shown", "10K")[16] <= _values(report, "memagent", "answer_shown", "10K")[64]
