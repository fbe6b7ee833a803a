"""The taskset and the harness, over a stand-in with the names of verifiers 0.4.0, and over the package where it is there."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from helpers import fake_verifiers, lookup_objective
from helpers.lookup_objective import ROWS

from memagent.errors import ConfigError, InputError, MissingExtra

NAME = "memagent_training.adapters.verifiers"
REAL = find_spec("verifiers") is not None


class Endpoint(ThreadingHTTPServer):
    """An OpenAI-compatible server whose replies are given by the text of the last message."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies, self.asked = replies, list[Any]()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Silent."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.asked.append(body)
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        if text not in server.replies:
            return self._answer(400, "application/json", json.dumps({"error": {"message": "no such request"}}).encode())
        said = server.replies[text]
        whole = {
            "id": "1",
            "created": 1,
            "model": "m",
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        }
        if not body.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
            data = json.dumps(whole | {"object": "chat.completion", "choices": [choice]}).encode()
            return self._answer(200, "application/json", data)
        piece = {"index": 0, "finish_reason": "stop", "delta": {"role": "assistant", "content": said}}
        chunk = json.dumps(whole | {"object": "chat.completion.chunk", "choices": [piece]})
        return self._answer(200, "text/event-stream", f"data: {chunk}\n\ndata: [DONE]\n\n".encode())

    def _answer(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint({"Search for: Where is Rex?": "Rex", "Where is Rex?": "Lima"}) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["stand-in", "verifiers"])
def adapter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if request.param == "verifiers" and not REAL:
        pytest.skip("verifiers is not installed")
    if request.param == "stand-in":
        fake_verifiers.install(monkeypatch)
    return _imported(monkeypatch)


def _imported(patch: pytest.MonkeyPatch) -> ModuleType:
    patch.delitem(sys.modules, NAME, raising=False)
    return importlib.import_module(NAME)


def _launched(adapter: ModuleType, endpoint: str, trace: Any) -> Any:
    data = adapter.data_of("look-up", ROWS[0])
    harness = adapter.MemagentHarness(adapter.vf.HarnessConfig(id="memagent"))
    context = SimpleNamespace(model="policy")
    return asyncio.run(harness.launch(context, trace, None, endpoint, "secret", {}, data)), adapter.MemagentTask(data)


def test_each_request_is_a_chat_completion_and_rewards_are_told_by_key(
    adapter: ModuleType, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_episodes", lambda recipe: lookup_objective.episodes())
    trace = SimpleNamespace(id=uuid4().hex, info={})
    result, task = _launched(adapter, endpoint.url, trace)
    assert (result.exit_code, result.stdout) == (0, "Lima")
    search, answer = endpoint.asked
    assert (search["model"], search["max_tokens"], len(search["messages"])) == ("policy", 8, 1)
    assert answer["temperature"] == 0.5
    assert answer["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert asyncio.run(task.rewards(trace)) == {"answer": 1.0}  # the primary one
    assert asyncio.run(task.others(trace)) == {"look": 0.5, "turns": 2.0}


def test_what_the_world_failed_is_no_sample(adapter: ModuleType, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_episodes", lambda recipe: lookup_objective.episodes())
    endpoint.replies.pop("Where is Rex?")
    result, _ = _launched(adapter, endpoint.url, SimpleNamespace(id=uuid4().hex, info={}))
    assert result.exit_code == 1
    assert result.stderr.startswith("model: ")


def test_the_taskset_has_the_rows_of_a_recipe(adapter: ModuleType) -> None:
    found = list(adapter.MemagentTaskset(adapter.MemagentTasksetConfig(id="mine", tasks=5)).load())
    assert len(found) == 5
    assert {task.data.recipe for task in found} == {"demo"}
    assert all((task.data.id, task.data.prompt) == (task.data.row["id"], task.data.row["prompt"]) for task in found)
    with pytest.raises(ConfigError, match="no recipe `magic`"):
        list(adapter.MemagentTaskset(adapter.MemagentTasksetConfig(id="mine", recipe="magic")).load())
    with pytest.raises(InputError, match="no split `dev`"):
        list(adapter.MemagentTaskset(adapter.MemagentTasksetConfig(id="mine", split="dev")).load())


def test_without_verifiers_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verifiers", None)
    monkeypatch.setitem(sys.modules, "verifiers.v1.runtimes", None)
    with pytest.raises(MissingExtra, match=r"verifiers>=0\.4"):
        _imported(monkeypatch)


# -- the package itself -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL, reason="verifiers is not installed")
def test_its_own_agent_rolls_a_task_out_and_scores_it(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = _imported(monkeypatch)
    monkeypatch.setattr(adapter, "_episodes", lambda recipe: lookup_objective.episodes())
    names = "MemagentHarness, MemagentTaskset"
    (tmp_path / "my_tasks.py").write_text(f"from {NAME} import {names}\n__all__ = {names.split(', ')}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FAKE_KEY", "secret")
    vf = adapter.vf
    client = vf.EvalClientConfig(base_url=endpoint.url, api_key_var="FAKE_KEY")
    config = vf.AgentConfig(model="policy", client=client, harness={"id": "my_tasks"}, runtime={"type": "subprocess"})
    task = adapter.MemagentTask(adapter.data_of("look-up", ROWS[0]))

    trace = asyncio.run(vf.make_agent(config).run(task))

    assert not trace.errors
    assert {name: reward.value for name, reward in trace.rewards.items()} == {"answer": 1.0}
    assert trace.metrics["look"] == 0.5
    assert len(endpoint.asked) == 2
    assert len(trace.branches) == 2  # one training sample a conversation
