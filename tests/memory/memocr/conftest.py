"""A store for pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", embedder=HashEmbedder()) as store:
        yield store
