"""Hashed words: unit vectors that are the same in every process, for queries and passages alike."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from memagent.retrieval.embedders.hash import HashEmbedder

TEXTS = ["My dog is called Biscuit.", "", "a", "word " * 600, "日本語のテキスト", "null \x00 and escape \x1b[31m"]


def test_vectors_have_unit_length_and_do_not_depend_on_the_process() -> None:
    ours = HashEmbedder(dimension=16).embed(TEXTS)
    assert np.allclose(np.linalg.norm(ours, axis=1), 1.0)
    code = (
        "from memagent.retrieval.embedders.hash import HashEmbedder as H\n"
        "print(H(dimension=16).embed(['dog biscuit'])[0].tolist())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(HashEmbedder(dimension=16).embed(["dog biscuit"])[0].tolist())


def test_queries_and_passages_are_embedded_alike() -> None:
    embedder = HashEmbedder()
    assert np.array_equal(embedder.embed(TEXTS, role="query"), embedder.embed(TEXTS, role="passage"))
