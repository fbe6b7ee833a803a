"""Progress, slow steps, and keys, as all commands share them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from invocations import added, program, run

from memagent import config
from memagent.cli import common
from memagent.config import load_settings
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
        common.load("openai:x", load_settings({}))
    config.save_key("openai", "sk-kept")
    with common.load("openai:x", load_settings({})) as model:
        assert isinstance(model, OpenAICompatibleModel)
        assert model._endpoint.headers == {"Authorization": "Bearer sk-kept"}


SPACES = "Bonjour\u00a0! 10\u202f000 東京\u3000駅 Zo\u0308e 👩\u200d🚀 خانه\u200cها co\u00adop"


def test_text_of_any_language_is_printed_as_it_is() -> None:
    assert common.clean(SPACES) == SPACES
    assert common.clean("one\r\ntwo\tthree") == "one\ntwo\tthree"


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\x07", "\x00", "\u202e", "\u2067", "\u2028", "\U000e0041", "\ud83d"])
def test_signs_that_rewrite_or_hide_are_replaced_and_in_json_escaped(sign: str, capsys: pytest.CaptureFixture[str]) -> None:
    common.print_status(f"a{sign}b")
    common.print_result({}, f"a{sign}b", False)
    common.print_result({"text": f"a{sign}b"}, "", True)
    printed = capsys.readouterr()
    assert (printed.err, printed.out.splitlines()[0]) == ("a�b\n", "a�b")
    assert sign not in printed.out
    assert json.loads(printed.out.splitlines()[1])["text"] == f"a{sign}b"


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "{evil}.txt"),
        ("memory", "import", "{evil}.jsonl"),
        ("chat", "-p", "hi", "-m", "{evil}"),
        ("chat", "-p", "hi", "-m", "scripted:{evil}"),
        ("chat", "-p", "hi", "--memory", "{evil}"),
        ("chat", "-p", "hi", "--config", "{evil}.toml"),
        ("render", "{evil}.md"),
        ("memory", "show", "{evil}"),
        ("sessions", "show", "{evil}"),
        ("bench", "{evil}"),
        ("{evil}",),
        ("config", "set", "{evil}", "x"),
        ("keys", "remove", "{evil}"),
    ],
    ids=" ".join,
)
def test_names_from_outside_reach_no_terminal_raw(arguments: tuple[str, ...]) -> None:
    evil = "\x1b]0;PWNED\x07\x9b2J\u202e"
    ended = program(*(one.replace("{evil}", evil) for one in arguments))
    assert ended.code in (2, 3)
    assert not set(ended.out + ended.err) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("arguments", [("config", "show"), ("doctor",), ("chat", "-p", "hi", "-m", "fake")], ids=" ".join)
def test_a_settings_file_of_the_folder_is_named_and_reaches_no_terminal_raw(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "_ANNOUNCED", set())
    (tmp_path / "memagent.toml").write_text(
        'system = "\\u001b]0;PWNED\\u0007"\nmodel = "fake\\u202e"\nbase_url = "http://evil.example"\n'
    )
    ended = program(*arguments)
    assert ended.code == 0
    assert "by memagent.toml of this folder: model fake" in ended.err or "chat" in arguments
    assert ended.err.count("memagent.toml of this folder") == 1
    assert not set(ended.out + ended.err) & set("\x1b\x07\u202e")
    assert "evil.example" not in ended.out
