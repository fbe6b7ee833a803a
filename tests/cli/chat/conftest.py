"""A chat in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ptys import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts `memagent chat` in a terminal, with a store of its own; skips where there are no pseudo-terminals."""
    if sys.platform == "win32":
        pytest.skip("no pseudo-terminals")
    running: list[Terminal] = []

    def start(*arguments: str, model: str = "fake", **options: str) -> Terminal:
        place = ("chat", "-m", model, "--store", str(tmp_path / "store"), "--embedder", "none")
        running.append(Terminal(*place, *arguments, **options))
        return running[-1]

    yield start
    for one in running:
        one.close()
