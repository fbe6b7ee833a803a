"""The OpenEnv environment, over a stand-in with the names of openenv 0.10.0, and over the package where it is installed."""

from __future__ import annotations

import base64
import importlib
import socket
import sys
import threading
import time
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
from helpers import fake_openenv
from helpers.lookup_objective import PIXEL, episodes

from memagent.errors import EngineError, InputError, MissingExtra

NAME = "memagent_training.adapters.openenv"
REAL = find_spec("openenv") is not None


@pytest.fixture(params=["stand-in", "openenv"])
def adapter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if request.param == "openenv" and not REAL:
        pytest.skip("openenv is not installed")
    if request.param == "stand-in":
        fake_openenv.install(monkeypatch)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return importlib.import_module(NAME)


def test_an_episode_goes_request_by_request(adapter: ModuleType) -> None:
    environment = adapter.MemagentEnvironment(episodes())
    first = environment.reset(split="train", index=0, seed=3, episode_id="one")
    assert (first.done, first.reward, first.role, first.max_tokens) == (False, None, "search", 8)
    assert first.messages == [{"role": "user", "content": "Search for: Where is Rex?"}]
    second = environment.step(adapter.Say(text="Rex"))
    picture, text = second.messages[0]["content"]
    assert picture["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    assert text == {"type": "text", "text": "Where is Rex?"}
    last = environment.step(adapter.Say(text="Lima"))
    assert (last.done, last.reward, last.messages) == (True, 1.0, [])
    assert last.metadata["rewards"] == {"look": 0.5, "answer": 1.0}
    assert (last.metadata["correct"], last.metadata["valid"], last.metadata["failed"]) == (True, True, None)
    assert (environment.state.episode_id, environment.state.step_count) == ("one", 2)


def test_what_the_world_failed_has_no_reward(adapter: ModuleType) -> None:
    environment = adapter.MemagentEnvironment(episodes(raises=EngineError("gone", retryable=True)))
    environment.reset()
    last = environment.step(adapter.Say(text="Rex"))
    assert (last.done, last.reward, last.metadata["failed"]) == (True, None, "engine: gone")


def test_steps_out_of_turn_and_unknown_tasks_are_refused(adapter: ModuleType) -> None:
    environment = adapter.MemagentEnvironment(episodes())
    with pytest.raises(InputError, match="call reset first"):
        environment.step(adapter.Say(text="Rex"))
    with pytest.raises(InputError, match="no split `dev`"):
        environment.reset(split="dev")
    for text in ("Rex", "Lima"):
        environment.reset() if text == "Rex" else None
        environment.step(adapter.Say(text=text))
    with pytest.raises(InputError, match="has ended"):
        environment.step(adapter.Say(text="more"))


def test_tasks_are_listed_without_what_they_ask(adapter: ModuleType) -> None:
    environment = adapter.MemagentEnvironment(episodes())
    assert environment.list_splits() == ["train", "test"]
    assert environment.num_tasks("train") == 2
    assert environment.get_task("train", 1) == {"id": "q1", "index": 1}
    assert environment.get_task_range("train", 1) == [{"id": "q1", "index": 1}]
    assert environment.list_tasks("test") == [{"id": "q0", "index": 0}]
    with pytest.raises(IndexError):
        environment.get_task("train", 2)


def test_the_application_makes_an_environment_for_each_session(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_openenv.install(monkeypatch)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    adapter = importlib.import_module(NAME)
    made = adapter.make_app(episodes(), sessions=3)
    assert (made["env_name"], made["max_concurrent_envs"]) == ("memagent", 3)
    one, other = made["env"](), made["env"]()
    assert one.SUPPORTS_CONCURRENT_SESSIONS
    one.reset(index=0), other.reset(index=1)
    assert other.step(made["action_cls"](text="came")).messages[0]["content"][1]["text"] == "Who came?"
    assert one.state.step_count == 0


def test_without_openenv_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openenv.core.env_server", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with pytest.raises(MissingExtra, match="pip install openenv"):
        importlib.import_module(NAME)


# -- the package itself -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL, reason="openenv is not installed")
def test_its_own_client_plays_two_sessions_at_once_over_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    adapter = importlib.import_module(NAME)
    uvicorn = importlib.import_module("uvicorn")
    client = importlib.import_module("openenv.core.generic_client").GenericEnvClient
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(adapter.make_app(episodes()), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        with (
            client(base_url=f"http://127.0.0.1:{port}").sync() as one,
            client(base_url=f"http://127.0.0.1:{port}").sync() as two,
        ):
            _played(one, two)
    finally:
        server.should_exit = True
        thread.join(10)


def _played(one: Any, two: Any) -> None:
    first, other = one.reset(split="train", index=0), two.reset(split="train", index=1)
    assert first.observation["messages"][0]["content"] == "Search for: Where is Rex?"
    assert other.observation["role"] == "search"
    two.step({"text": "came"})
    one.step({"text": "wrong"})
    ended, wrong = two.step({"text": "Ada"}), one.step({"text": "Rome"})
    assert (ended.done, ended.reward) == (True, 1.0)
    assert (wrong.done, wrong.reward) == (True, 0.0)
    assert ended.observation["metadata"]["rewards"] == {"look": 0.5, "answer": 1.0}
