"""Shaping shares a process with what else a chat loads."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations

import pytest


@pytest.mark.parametrize("order", list(permutations(("xllamacpp", "uharfbuzz"))), ids="-".join)
def test_shaping_and_the_embedded_model_load_into_one_process(order: tuple[str, ...]) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    statement = "; ".join(f"import {name}" for name in (*order, "skia", "faiss", "Stemmer", "tokenizers"))
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
