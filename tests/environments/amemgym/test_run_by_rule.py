"""The offline bench: the order of its references, its sums, its report, and its command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import Any

import pytest
from helpers.amemgym_runs import invoke, value

from memagent.environments.amemgym import run as bench
from memagent.environments.amemgym.answerers import rule_upper_bound
from memagent.environments.amemgym.baselines import KeywordAssistant
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.error_analysis import REASONS
from memagent.environments.amemgym.generate import GeneratorSettings, generate_users, preset
from memagent.environments.amemgym.report import means
from memagent.environments.amemgym.run import METHODS as BY_DEFAULT
from memagent.environments.amemgym.run import AmemgymSettings, run
from memagent.environments.amemgym.scoring.metrics import AGE_METRICS
from memagent.errors import InputError, MissingExtra, UnknownName
from memagent.evaluation import ocr_pool
from memagent.evaluation.report import Report
from memagent.evaluation.runner import Progress
from memagent.memory import BUILT_IN, load_memory
from memagent.memory.base import Memory
from memagent.memory.rag import RagMemory
from memagent.models.fake import FakeModel
from memagent.types import Recall
from memagent_renderers.legibility_curve import OCR
from memagent_renderers.ocr.simulated import SimulatedReader

TEXT_METHODS = (*(method for method in BY_DEFAULT if method != "memocr"), "oracle", "stale", "random")
WHOLE = 20_000
"""Tokens that hold every history here."""


PERIODS = 2


def shorter(periods: int) -> Callable[[str], GeneratorSettings]:
    return lambda _: preset("v1.base").model_copy(update={"num_periods": periods})


@pytest.fixture
def one_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lives of one update period."""
    monkeypatch.setattr(bench, "preset", shorter(1))


@pytest.fixture
def no_ocr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated reader in place of the real OCR, which takes seconds a picture."""
    monkeypatch.setitem(ocr_pool.READERS, "ocr", lambda: SimulatedReader(OCR, seed=1))
    monkeypatch.setattr(ocr_pool, "SLOW", ())


@pytest.fixture(scope="module")
def reports() -> dict[int, Report]:
    settings = AmemgymSettings(limit=2, budgets=(256, WHOLE), methods=TEXT_METHODS, seed=7, embedder=None, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "preset", shorter(PERIODS))
        return {report.meta["budget"]: report for report in run(settings)}


@pytest.fixture(scope="module")
def items() -> list[UserItem]:
    return generate_users(30, settings=preset("v1.base"), seed=7)


def test_oracle_stale_and_random_bound_the_scores(reports: dict[int, Report]) -> None:
    report = reports[WHOLE]
    assert value(report, "oracle", "accuracy") == 1.0
    assert value(report, "oracle", "memory_score") == 1.0
    for metric in ("write_failure", "read_failure", "utilization_failure"):
        assert value(report, "oracle", metric) == 0.0
    assert value(report, "random", "memory_score") == pytest.approx(0.0, abs=1e-12)
    assert value(report, "random", "memory_score") < value(report, "stale", "memory_score") < 1.0
    assert value(report, "stale", "accuracy", 0) == 1.0


def test_what_the_reader_is_told_it_answers(items: list[UserItem]) -> None:
    assert all(cell == 1.0 for user in rule_upper_bound(items).accuracy for row in user for cell in row)


def test_with_a_budget_for_the_whole_history_memories_lie_between_oracle_and_stale(reports: dict[int, Report]) -> None:
    report = reports[WHOLE]
    for method in ("long_context", "rag", "notes", "awe", "awi"):
        assert value(report, "stale", "accuracy") < value(report, method, "accuracy") <= 1.0
    assert value(report, "long_context", "accuracy") == 1.0


def test_a_smaller_budget_shows_less(reports: dict[int, Report]) -> None:
    for method in ("long_context", "rag", "notes", "awe", "awi"):
        assert value(reports[256], method, "accuracy") < value(reports[WHOLE], method, "accuracy")
    assert value(reports[256], "oracle", "accuracy") == 1.0


@pytest.mark.parametrize("budget", [256, WHOLE])
def test_accuracy_and_failures_add_up_to_one_in_every_period(reports: dict[int, Report], budget: int) -> None:
    for method in TEXT_METHODS:
        assert_adds_up(reports[budget], method)
        assert value(reports[budget], method, "read_failure", 0) == 0.0


def assert_adds_up(report: Report, method: str) -> None:
    """Every answer is right, or lost for one reason."""
    names = ("accuracy", "write_failure", "read_failure", "utilization_failure")
    for at in {row.at for row in report.rows if row.method == method and row.metric == "accuracy"}:
        assert isclose(sum(value(report, method, name, at) for name in names), 1.0, abs_tol=1e-9)


def test_the_report_says_how_it_came_about(reports: dict[int, Report]) -> None:
    meta = reports[256].meta
    assert meta["talk"]["first_messages"].keys() == {"exact"}
    assert meta["talk"]["follow_ups"].keys() == {"said"}
    assert all(256 < tokens < WHOLE for tokens in meta["talk"]["tokens_per_user"].values())
    assert meta["rules"] == {"memory_score": "period", "memory_score_user_period": "user_period"}
    assert "without a model" in meta["read_by"]
    assert all(cost <= 256 for cost in meta["view_tokens_mean"].values())
    assert meta["budget_counts"] == "text tokens of a view; for memocr, visual tokens of a picture"
    assert meta["memocr"] is None
    assert all(row.n == 2 and row.low is not None for row in reports[256].rows if not row.metric.startswith("accuracy_by"))


def test_the_table_has_a_line_for_each_method_with_intervals(reports: dict[int, Report]) -> None:
    head, *lines = means(reports[256])
    assert head == ("METHOD", "ACCURACY", "MEMORY SCORE", "WRITE FAILURE", "READ FAILURE", "UTILIZATION FAILURE")
    assert [line[0] for line in lines] == list(TEXT_METHODS)
    assert all(len(line) == len(head) and ".." in cell for line in lines for cell in line[1:])
    assert {line[0]: line[1] for line in lines}["oracle"] == "1.000 (1.000 .. 1.000)"


def test_accuracy_is_broken_down_by_age_and_by_changes(reports: dict[int, Report]) -> None:
    for metric in AGE_METRICS:
        points = {row.at: row.value for row in reports[256].rows if (row.method, row.metric) == ("oracle", metric)}
        assert points
        assert set(points.values()) == {1.0}
    [old] = [one.value for one in reports[256].rows if (one.method, one.metric, one.at) == ("stale", AGE_METRICS[2], 0)]
    assert old == 1.0


def test_what_is_lost_is_lost_for_a_reason(reports: dict[int, Report]) -> None:
    for method, lost in reports[256].meta["lost"].items():
        assert set(lost) <= {*REASONS, "older_shown"}
        assert lost["left_out"] > 0, method
    assert reports[WHOLE].meta["lost"]["long_context"] == {}


@pytest.mark.slow
@pytest.mark.usefixtures("one_period", "no_ocr")
def test_users_score_the_same_on_any_number_of_processes() -> None:
    settings = AmemgymSettings(limit=2, methods=("memocr", "awe"), budgets=(24,), embedder=None, compare_ocr=2, workers=2)
    [two], [one] = run(settings), run(replace(settings, workers=1))
    assert two.rows == one.rows
    for name in ("memocr", "lost", "ocr_agreement", "talk", "view_tokens_mean"):
        assert two.meta[name] == one.meta[name]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "preset", shorter(2))
    settings = AmemgymSettings(limit=1, methods=("awe", "rag"), seed=3, embedder="hash", budgets=(128,))
    [first], [second] = run(settings), run(settings)
    assert first.rows == second.rows


@pytest.mark.slow
@pytest.mark.usefixtures("one_period", "no_ocr")
def test_a_method_scores_the_same_whichever_others_there_are() -> None:
    settings = AmemgymSettings(limit=1, methods=("memocr",), seed=3, embedder=None, budgets=(24,), compare_ocr=2)
    [alone], [beside] = run(settings), run(replace(settings, methods=("long_context", "memocr")))
    assert [row for row in beside.rows if row.method == "memocr"] == alone.rows


def test_a_view_that_fails_is_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise InputError("no view today")

    monkeypatch.setattr(RagMemory, "recall", broken)
    [report] = run(AmemgymSettings(limit=1, methods=("rag",), embedder=None, budgets=(1024,)))
    assert value(report, "rag", "accuracy") == 0.0
    assert value(report, "rag", "write_failure") == 1.0
    failures = report.meta["failures"]["rag"]
    assert failures["count"] == 2 * 11 * 10
    assert set(report.meta["lost"]["rag"]) == {"failed"}
    assert "period 0, question 0: InputError: no view today" in failures["first"][0]


@pytest.mark.slow
@pytest.mark.timed
def test_a_keyword_assistant_goes_through_base_sizes_in_two_minutes() -> None:
    began = time.perf_counter()
    [report] = run(
        AmemgymSettings(
            limit=20, methods=("keyword", "oracle", "stale", "random"), budgets=(256,), embedder=None, seed=7, workers=1
        )
    )
    assert time.perf_counter() - began < 120
    assert report.meta["users"] == 20
    assert value(report, "keyword", "accuracy") == value(report, "oracle", "accuracy") == 1.0


@pytest.mark.slow
@pytest.mark.usefixtures("no_ocr")
def test_all_memories_lie_between_oracle_and_stale_when_everything_fits() -> None:
    [report] = run(AmemgymSettings(limit=2, budgets=(8192,), seed=7, compare_ocr=2))
    assert max(report.meta["talk"]["tokens_per_user"].values()) < 8192
    memories = [value(report, method, "accuracy") for method in ("long_context", "rag", "notes", "memocr", "awe", "awi")]
    assert value(report, "oracle", "accuracy") >= max(memories)
    assert min(memories) > value(report, "stale", "accuracy") > value(report, "random", "accuracy")
    for method in (*TEXT_METHODS, "memocr"):
        assert_adds_up(report, method)


def test_a_keyword_store_shows_the_newest_values_and_goes_on_from_a_snapshot(items: list[UserItem], tmp_path: Path) -> None:
    assistant, other = (KeywordAssistant(items[0]) for _ in range(2))
    for session in (one for period in items[0].periods[:2] for one in period.sessions):
        assistant.add(session.query, "Noted.")
    assistant.add("Hello.", "Hello.")
    assert assistant.values == items[0].periods[1].state
    whole = str(assistant.recall("any").text).splitlines()
    assert whole == [f"{name}: {value}" for name, value in assistant.values.items()]
    assert str(assistant.recall("any", budget=20).text).splitlines()[-1] == whole[-1]
    assistant.save(tmp_path)
    other.load(tmp_path)
    assert list(other.values.items()) == list(assistant.values.items())
    with pytest.raises(InputError, match="cannot be read"):
        other.load(tmp_path / "elsewhere")


@pytest.mark.slow
@pytest.mark.usefixtures("one_period")
@pytest.mark.parametrize("real", [False, True])
def test_memocr_is_read_by_a_simulated_reader_that_is_compared_with_the_real_one(
    real: bool, request: pytest.FixtureRequest
) -> None:
    if not real:
        request.getfixturevalue("no_ocr")
    [report] = run(AmemgymSettings(limit=1, methods=("memocr", "random"), embedder=None, budgets=(64,), compare_ocr=3))
    assert 0 < value(report, "memocr", "accuracy") <= 1.0
    assert 0 < report.meta["view_tokens_mean"]["memocr"] <= 64
    agreement = report.meta["ocr_agreement"]
    assert agreement["pictures"] == 3
    assert agreement["apart"] < 0.2


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"limit": 0}, InputError),
        ({"budgets": (0,)}, InputError),
        ({"budgets": (64, 64)}, InputError),
        ({"workers": 0}, InputError),
        ({"data": Path("data.json")}, InputError),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        AmemgymSettings(**values)  # type: ignore[arg-type]


def test_unknown_methods_are_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="'memocr'"):
        run(AmemgymSettings(limit=1, methods=("memorc",), embedder=None))


def test_missing_ocr_is_told_before_the_first_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise MissingExtra("rapidocr", "pip install rapidocr")

    said: list[str] = []
    monkeypatch.setitem(ocr_pool.READERS, "ocr", absent)
    with pytest.raises(MissingExtra):
        run(AmemgymSettings(limit=1, methods=("memocr",), embedder=None, compare_ocr=1), progress=Progress(said.append))
    assert not said


@pytest.mark.slow
@pytest.mark.usefixtures("one_period", "no_ocr")
def test_the_report_is_saved_before_the_real_ocr_reads_and_again_after_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed_later() -> SimulatedReader:
        if (tmp_path / "budget_24" / "amemgym.json").exists():
            raise KeyboardInterrupt
        return SimulatedReader(OCR, seed=1)

    monkeypatch.setitem(ocr_pool.READERS, "ocr", killed_later)
    settings = AmemgymSettings(limit=1, methods=("memocr", "random"), embedder=None, budgets=(24,), compare_ocr=2, workers=1)
    with pytest.raises(KeyboardInterrupt):
        run(settings, out=tmp_path)
    saved = json.loads((tmp_path / "budget_24" / "amemgym.json").read_text("utf-8"))
    assert saved["rows"]
    assert saved["meta"]["ocr_agreement"] is None
    monkeypatch.setitem(ocr_pool.READERS, "ocr", lambda: SimulatedReader(OCR, seed=1))
    [report] = run(settings, out=tmp_path)
    assert report.meta["ocr_agreement"]["pictures"] == 2
    assert json.loads((tmp_path / "budget_24" / "amemgym.json").read_text("utf-8"))["meta"]["ocr_agreement"]["pictures"] == 2


@pytest.mark.usefixtures("one_period")
@pytest.mark.parametrize("kind", BUILT_IN)
def test_each_memory_is_the_shipped_class_and_its_recall_is_entered(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_memory(kind)
    entered: list[str] = []
    recall = shipped.recall

    def recorded(self: Memory, query: str, **values: Any) -> Recall:
        entered.append(type(self).__name__)
        return recall(self, query, **values)

    monkeypatch.setattr(shipped, "recall", recorded)
    run(AmemgymSettings(limit=1, methods=(kind,), embedder=None, budgets=(64,), workers=1))
    assert entered == [shipped.__name__] * (2 * 2 * 10)
    entered.clear()
    settings = AmemgymSettings(model="sees", limit=1, methods=(kind,), embedder=None, upper_bound=False)
    run(settings, model=FakeModel('{"answer": 1}', sees_images=True))
    assert set(entered) == {shipped.__name__}
    assert len(entered) > 2 * 2 * 10, "also for each reply"


@pytest.mark.usefixtures("one_period")
def test_the_command_prints_one_object_and_keeps_reports_and_conversations(tmp_path: Path) -> None:
    flags = ("--users", 1, "--offline", "--methods", "awi,oracle", "--embedder", "none", "--budget", 300, "--workers", 1)
    done = invoke(*flags, "--out", tmp_path, "--json")
    assert done.exception is None
    [line] = done.stdout.splitlines()
    report = json.loads(line)
    assert (report["report"], report["name"], report["meta"]["budget"]) == (1, "amemgym", 300)
    assert {row["method"] for row in report["rows"]} == {"awi", "oracle"}
    assert json.loads((tmp_path / "budget_300" / "amemgym.json").read_text("utf-8")) == report
    [user] = [one.name for one in (tmp_path / "awi").iterdir()]
    assert len(list((tmp_path / "awi" / user / "interactions").glob("period_*.json"))) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("one_period", "no_ocr")
def test_the_command_prints_a_table_for_each_budget_and_why_memocr_stands_where_it_does() -> None:
    flags = ("--methods", "memocr,rag,oracle", "--embedder", "none", "--compare-ocr", 2, "--workers", 1)
    done = invoke("--users", 1, "--offline", *flags, "--budget", 64, "--budget", 32)
    assert done.exception is None
    for budget in (64, 32):
        assert f"Within {budget} tokens: means over periods" in done.stdout
    assert done.stdout.count("the best other memory (rag)") == 2
    assert "for memocr, visual tokens of a picture" in done.stdout
    assert "of 64 tokens" in done.stdout
    assert "apart on average" in done.stdout


def test_the_command_asks_for_offline() -> None:
    done = invoke("--users", 1)
    assert isinstance(done.exception, InputError)
    assert "--offline" in str(done.exception)


@pytest.mark.slow
def test_a_terminated_run_takes_its_processes_with_it_and_leaks_nothing() -> None:
    flags = ("--users", "2", "--offline", "--methods", "memocr,notes", "--embedder", "none", "--workers", "2")
    command = [sys.executable, "-m", "memagent", "bench", "amemgym", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    assert "2 users" in process.stderr.readline()
    time.sleep(5)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "leaked" not in said
