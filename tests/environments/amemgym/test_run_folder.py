"""The folder of a run: it goes on with the same run alone, byte by byte, pays no reply twice, and holds nothing secret."""

from __future__ import annotations

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

import pytest
from helpers import metered_model
from helpers.amemgym_runs import invoke, load, run, settings, tree
from helpers.metered_model import MeteredModel
from helpers.synthetic_users import made_items

from memagent.environments.amemgym.data import save_items
from memagent.environments.amemgym.run_folder import model_folder, plain_name
from memagent.errors import ConfigError
from memagent.evaluation.report import Report
from memagent.retrieval.embedders.minilm import model_folder as minilm_folder


@pytest.mark.slow
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


@pytest.mark.slow
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


# -- names and secrets --------------------------------------------------------------------------------------------------


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
