"""Progress, slow steps, and keys, as all commands share them."""

from __future__ import annotations

import time

import pytest
from invocations import added, run

from memagent import config
from memagent.cli import common
from memagent.errors import MissingKey
from memagent.models.openai_compatible import OpenAICompatibleModel


def test_the_progress_bar_is_on_stderr_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    added("x")
    monkeypatch.setattr(common, "terminal", lambda stream: stream == "stderr")
    assert run("memory", "consolidate") == "1 done\n"


def test_a_slow_step_is_named_and_a_fast_one_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "SLOW_STEP_SECONDS", 0.02)
    with common.waiting("searching the memory"):
        time.sleep(0.2)
    with common.waiting("a fast step"):
        pass
    time.sleep(0.1)
    assert capsys.readouterr().err == "... searching the memory\n"


def test_a_missing_key_says_how_to_save_one_and_a_saved_one_is_used() -> None:
    with pytest.raises(MissingKey, match="memagent keys set openai"):
        common.load("openai:x")
    config.save_key("openai", "sk-kept")
    with common.load("openai:x") as model:
        assert isinstance(model, OpenAICompatibleModel)
        assert model._endpoint.headers == {"Authorization": "Bearer sk-kept"}
