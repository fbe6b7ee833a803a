"""`memagent config`: values and where they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from invocations import data, invoke, program, run

from memagent.errors import ConfigError


def test_config_shows_values_and_origins() -> None:
    found = data("config", "show")["settings"]
    assert found["embedder"] == {"value": "hash", "origin": "MEMAGENT_EMBEDDER"}
    assert found["memory"] == {"value": "rag", "origin": "default"}
    file = data("config", "path")
    assert file["exists"] is False
    assert data("config", "set", "memory", "notes")["file"] == file["file"]
    assert data("config", "show")["settings"]["memory"] == {"value": "notes", "origin": file["file"]}


def test_config_says_when_something_else_goes_before() -> None:
    result = invoke("config", "set", "embedder", "minilm")
    assert result.exception is None
    assert "but here it is hash, by MEMAGENT_EMBEDDER" in result.stderr


def test_config_refuses_unknown_settings() -> None:
    with pytest.raises(ConfigError, match=r"memry.*Did you mean 'memory'"):
        run("config", "set", "memry", "rag")


def test_settings_that_cannot_be_written_are_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("MEMAGENT_HOME", str(tmp_path / "a file" / "home"))
    assert program("config", "set", "memory", "notes").code == 3
    monkeypatch.setenv("MEMAGENT_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "config.toml").mkdir(parents=True)
    assert program("config", "set", "memory", "notes").code == 3
    (tmp_path / "home" / "keys.toml").mkdir(mode=0o700)
    assert program("keys", "set", "openai", stdin="sk-1").code == 3
