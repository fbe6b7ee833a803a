"""`memagent config`: values and where they come from."""

from __future__ import annotations

import pytest
from invocations import data, invoke, run

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
