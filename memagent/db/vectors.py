"""Vectors of a user's passages, by digest of the embedded text: a cache that spares embedding a text twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def get_vectors(connection: sqlite3.Connection, user: int, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
    """The stored ones among these keys, each of shape (dimension,)."""
    found: dict[bytes, NDArray[np.float32]] = {}
    for start in range(0, len(keys), 500):
        part = keys[start : start + 500]
        marks = ",".join("?" * len(part))
        rows = connection.execute(
            f"SELECT digest, vector FROM vectors WHERE user_id = ? AND digest IN ({marks})", (user, *part)
        )
        found.update((key, np.frombuffer(raw, "<f4").astype(np.float32)) for key, raw in rows)
    return found


def put_vectors(connection: sqlite3.Connection, user: int, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
    """Store vectors; ones that are there already stay."""
    connection.executemany(
        "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)",
        [(user, key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()],
    )


def drop_vectors(connection: sqlite3.Connection, user: int, keys: Sequence[bytes]) -> None:
    connection.executemany("DELETE FROM vectors WHERE user_id = ? AND digest = ?", [(user, key) for key in keys])
