"""Settings: which source wins, what is refused, and that keys stay private."""

from __future__ import annotations

from pathlib import Path

import pytest

from memagent import config
from memagent.errors import ConfigError


def test_a_flag_beats_a_variable_beats_the_project_beats_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load_settings({}).origin["model"] == "default"
    config.set_value("model", "fake")
    config.set_value("budget", "99")
    assert (config.load_settings({}).model, config.load_settings({}).budget) == ("fake", 99)
    Path(config.PROJECT_FILE).write_text('model = "garbage"\n')
    assert config.load_settings({}).model == "garbage"
    monkeypatch.setenv("MEMAGENT_MODEL", "embedded")
    assert config.load_settings({}).origin["model"] == "MEMAGENT_MODEL"
    found = config.load_settings({"model": "scripted:x", "memory": None})
    assert (found.model, found.origin["model"], found.origin["memory"]) == ("scripted:x", "flag", "default")


def test_unknown_settings_and_wrong_values_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(config.PROJECT_FILE).write_text('modle = "fake"\n')
    with pytest.raises(ConfigError, match="Did you mean 'model'"):
        config.load_settings({})
    Path(config.PROJECT_FILE).write_text("not toml")
    with pytest.raises(ConfigError, match="cannot read"):
        config.load_settings({})
    Path(config.PROJECT_FILE).unlink()
    monkeypatch.setenv("MEMAGENT_BUDGET", "many")
    with pytest.raises(ConfigError, match="MEMAGENT_BUDGET"):
        config.load_settings({})


def test_keys_are_kept_privately_and_reach_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent.models.registry import load_model

    config.save_key("openai", "sk-test")
    file = config.user_file().with_name("keys.toml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert config.key_for("openai") == "sk-test"
    load_model("openai:gpt-5").close()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert config.key_for("openai") == "sk-other"
    assert config.remove_key("openai")
    assert config.key_names() == []
