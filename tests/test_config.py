"""Settings: which source goes before which, what is refused, and how keys are kept."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from memagent import config
from memagent.config import NAMES, load_settings
from memagent.errors import BudgetError, ConfigError, InputError, UnknownName


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(f"MEMAGENT_{name.upper()}", raising=False)
    return tmp_path


def test_defaults() -> None:
    found = load_settings({})
    assert (found.model, found.memory, found.budget, found.user, found.store) == ("embedded", "rag", None, "default", None)
    assert set(found.origin.values()) == {"default"}
    assert set(found.origin) == set(NAMES)


def test_each_source_goes_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def user() -> tuple[str, str]:
        found = load_settings({"user": None})
        return found.user, found.origin["user"]

    config.set_value("user", "of the user's file")
    assert user() == ("of the user's file", str(config.user_file()))
    Path("memagent.toml").write_text('user = "of the project"\n')
    assert user() == ("of the project", "memagent.toml")
    monkeypatch.setenv("MEMAGENT_USER", "of the variable")
    assert user() == ("of the variable", "MEMAGENT_USER")
    found = load_settings({"user": "of the flag"})
    assert (found.user, found.origin["user"]) == ("of the flag", "flag")


def test_a_named_file_stands_in_for_the_projects() -> None:
    Path("memagent.toml").write_text('model = "fake"\n')
    Path("other.toml").write_text("budget = 77\n")
    found = load_settings({}, file=Path("other.toml"))
    assert (found.model, found.budget, found.origin["budget"]) == ("embedded", 77, "other.toml")
    with pytest.raises(ConfigError, match=r"no settings file absent\.toml"):
        load_settings({}, file=Path("absent.toml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budgt = 3", r"no setting 'budgt'.*mean 'budget'"),
        ('origin = "x"', "no setting 'origin'"),
        ('budget = "many"', r"'budget' from memagent\.toml: .*integer.*'many'"),
        ("model = 3", "'model' from"),
        ("model = ", "cannot read"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(text: str, said: str) -> None:
    Path("memagent.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_settings({})


def test_a_file_that_is_no_text() -> None:
    Path("memagent.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings({})


def test_home_is_expanded_in_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings({"store": "~/mem"}).store == tmp_path / "mem"


@pytest.mark.parametrize("value", ["plain", 'with "quotes" and \\', "emoji 🐶, é", "two\nlines\x7f", ""])
def test_what_is_set_comes_back(value: str) -> None:
    config.set_value("system", value)
    config.set_value("budget", "12")
    assert load_settings({}).system == value
    assert config.unset("system")
    assert not config.unset("system")
    assert (load_settings({}).system, load_settings({}).budget) == (None, 12)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("modl", "fake", ConfigError),
        ("budget", "many", ConfigError),
        ("budget", "0", BudgetError),
        ("budget", "-5", BudgetError),
        ("memory", "ragg", UnknownName),
    ],
)
def test_what_cannot_be_set_changes_nothing(name: str, value: str, error: type[Exception]) -> None:
    config.set_value("model", "fake")
    before = config.user_file().read_bytes()
    with pytest.raises(error):
        config.set_value(name, value)
    assert config.user_file().read_bytes() == before


# -- keys -------------------------------------------------------------------------------------------------------------


def _file() -> Path:
    return config.user_file().with_name("keys.toml")


def test_keys_are_kept_for_this_user_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert (config.key_for("openai"), config.key_origin("openai")) == (None, None)
    config.save_key("openai", "sk-secret")
    config.save_key("my-host", "other")
    assert stat.S_IMODE(_file().stat().st_mode) == 0o600
    assert (config.key_for("openai"), config.key_origin("openai")) == ("sk-secret", "file")
    assert config.key_names() == ["my-host", "openai"]
    assert config.remove_key("openai")
    assert not config.remove_key("openai")
    assert config.key_for("openai") is None
    assert "sk-secret" not in caplog.text
    assert "sk-secret" not in _file().read_text()


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config.save_key("my-host", "kept")
    monkeypatch.setenv("MY_HOST_API_KEY", "given")
    assert (config.key_for("my-host"), config.key_origin("my-host")) == ("given", "MY_HOST_API_KEY")


@pytest.mark.skipif(os.name != "posix", reason="no file modes")
def test_a_file_of_keys_that_others_can_read_is_refused() -> None:
    config.save_key("openai", "sk-secret")
    _file().chmod(0o644)
    with pytest.raises(ConfigError, match=r"chmod 600 .*keys\.toml") as raised:
        config.key_for("openai")
    assert "sk-secret" not in str(raised.value)


def test_a_broken_file_of_keys_is_named_without_quoting_it() -> None:
    config.save_key("openai", "sk-secret")
    _file().write_text(f"openai = {json.dumps('sk-secret')} and more")
    with pytest.raises(ConfigError, match=r"cannot read .*keys\.toml") as raised:
        config.key_for("openai")
    assert "sk-secret" not in repr((raised.value, raised.value.__cause__))


def test_a_key_is_for_a_provider() -> None:
    with pytest.raises(InputError, match="before the colon"):
        config.save_key("openai:gpt", "sk-secret")
