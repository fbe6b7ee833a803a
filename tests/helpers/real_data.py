"""The real data that some tests read, which is not part of this repository: from `MEMAGENT_DATA`, or from beside the clone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("MEMAGENT_DATA") or Path(__file__).parents[3] / "shared" / "data").resolve()
LOCOMO = FOLDER / "locomo_6.json"
HOTPOTQA = FOLDER / "hotpotqa_distractor_60.jsonl"
BEAM = FOLDER / "beam_100k_8.json"
AMEMGYM_RUN = FOLDER / "amemgym_run"


def needed(path: Path) -> Path:
    """A path of real data; skips the test that asks where it is absent."""
    if not path.exists():
        pytest.skip("real data absent")
    return path
