"""Settings of the commands under test: a store of their own, and the embedder without weights."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEMAGENT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MEMAGENT_EMBEDDER", "hash")
    for name in ("USER", "MEMORY", "BUDGET"):
        monkeypatch.delenv(f"MEMAGENT_{name}", raising=False)
