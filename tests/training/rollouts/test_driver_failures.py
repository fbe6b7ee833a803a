"""What fails one rollout, what earns it nothing, and what stops the batch."""

from __future__ import annotations

import logging

import pytest

from memagent.errors import (
    ConfigError,
    EngineError,
    InputError,
    MemAgentError,
    MissingExtra,
    ModelError,
    RenderError,
    StoreLocked,
)
from memagent.types import user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")


from scripted_episodes import Requests, jobs, rolled, turns

from memagent_training.engines.base import Completion, Prompt
from memagent_training.objectives.base import Episode, EpisodeResult, PolicyRequest, Task

OF_THE_WORLD = [
    ModelError("the simulated user does not answer"),
    StoreLocked("locked"),
    EngineError("no connection", retryable=True),
]


@pytest.mark.parametrize("error", OF_THE_WORLD, ids=lambda one: type(one).__name__)
def test_what_the_world_does_fails_the_rollout_and_its_siblings_go_on(
    error: MemAgentError, caplog: pytest.LogCaptureFixture
) -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),), max_tokens=2)
        if task["id"] == "b":
            raise error
        yield PolicyRequest((user_message("2"),), max_tokens=2)
        return EpisodeResult(rewards={"answer": 1.0})

    with caplog.at_level(logging.WARNING, "memagent.training"):
        done = rolled(run, jobs("a", "b", "c"))

    assert [one.failed for one in done] == [None, f"{error.code}: {error}", None]
    assert [one.valid for one in done] == [True, False, True]
    assert f"rollout `0:1/0` failed: {type(error).__name__}: {error}" in caplog.text


def test_an_engine_that_fails_one_request_fails_its_rollout_alone() -> None:
    class Failing(Requests):
        async def complete(self, prompt: Prompt) -> Completion:
            if prompt.name == "0:1/0#1":
                raise EngineError("no connection to http://a", retryable=True)
            return await super().complete(prompt)

    done = rolled(turns(3), jobs("a", "b", "c"), Failing())

    assert [one.failed for one in done] == [None, "engine: no connection to http://a", None]
    assert [len(one.segments) for one in done] == [3, 1, 3]


def test_an_engine_that_is_set_up_otherwise_stops_the_batch() -> None:
    class Wrong(Requests):
        async def complete(self, prompt: Prompt) -> Completion:
            raise EngineError("the prompt has 3 tokens for the trainer and 5 for http://a")

    with pytest.raises(EngineError, match="3 tokens for the trainer and 5"):
        rolled(turns(3), jobs("a", "b", "c"), Wrong())


def test_what_the_policy_wrote_is_an_invalid_rollout_without_reward() -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),), max_tokens=2)
        raise RenderError("the page could not be drawn")

    [one] = rolled(run, jobs("a"))

    assert (one.failed, one.valid, one.rewards, one.answer) == (None, False, {"answer": 0.0}, "error: render")
    assert len(one.segments) == 1  # what it had said stays


def test_an_episode_may_fail_before_it_asks() -> None:
    def run(task: Task, seed: int) -> Episode:
        if task["id"] == "bad":
            raise InputError("no problem in this task")
        return (yield from turns(1)(task, seed))

    done = rolled(run, jobs("bad", "good"))

    assert [(one.valid, len(one.segments)) for one in done] == [(False, 0), (True, 1)]


@pytest.mark.parametrize("error", [ConfigError("a wrong setting"), MissingExtra("fonts", "pip install fonts")])
def test_a_wrong_setting_stops_the_batch(error: ConfigError) -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),))
        raise error

    with pytest.raises(type(error)):
        rolled(run, jobs("a", "b"))


def test_errors_that_are_not_ours_are_bugs_and_stop_the_batch() -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rolled(run, jobs("a"))
