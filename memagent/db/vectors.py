"""Vectors of a user's passages, by digest of the embedded text: a cache that spares embedding a text twice.

Where the embedder gives token states too, they lie beside the vector as bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def get_vectors(connection: sqlite3.Connection, user: int, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
    """The stored ones among these keys, each of shape (dimension,)."""
    found = _rows(connection, user, keys, "vector")
    return {key: np.frombuffer(raw, "<f4").astype(np.float32) for key, raw in found}


def get_tokens(connection: sqlite3.Connection, user: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """The token states stored beside the vectors of these keys."""
    return {key: raw for key, raw in _rows(connection, user, keys, "tokens") if raw is not None}


def _rows(connection: sqlite3.Connection, user: int, keys: Sequence[bytes], column: str) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(keys), 500):
        part = keys[start : start + 500]
        marks = ",".join("?" * len(part))
        yield from connection.execute(
            f"SELECT digest, {column} FROM vectors WHERE user_id = ? AND digest IN ({marks})", (user, *part)
        )


def put_vectors(
    connection: sqlite3.Connection,
    user: int,
    vectors: Mapping[bytes, NDArray[np.float32]],
    tokens: Mapping[bytes, bytes] | None = None,
) -> None:
    """Store vectors, and token states beside them; vectors that are there already stay."""
    beside = tokens or {}
    connection.executemany(
        "INSERT INTO vectors (user_id, digest, vector, tokens) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET tokens = excluded.tokens WHERE excluded.tokens IS NOT NULL",
        [(user, key, vector.astype("<f4").tobytes(), beside.get(key)) for key, vector in vectors.items()],
    )


def drop_vectors(connection: sqlite3.Connection, user: int, keys: Sequence[bytes]) -> None:
    connection.executemany("DELETE FROM vectors WHERE user_id = ? AND digest = ?", [(user, key) for key in keys])
