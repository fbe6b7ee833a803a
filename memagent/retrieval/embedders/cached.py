"""An embedder that embeds each text once, and linear algebra that gives the same bits in every run.

Vectors are kept by a digest of their text, so a cache holds no words. Whoever compares runs to the last bit also embeds each
new text alone (`one_by_one`): the last bits of a vector depend on its neighbours in a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from memagent.db import log
from memagent.db.sqlite import Database
from memagent.db.vectors import get_vectors, put_vectors
from memagent.forks import ForkLock
from memagent.retrieval.embedders.base import Embedder, Role, TokenStates, Vectors, gives_tokens

_BATCH = 256
"""Texts handed to the embedder at once."""


class CachedEmbedder:
    """Wraps an embedder; thread-safe. Of more than `max_texts` vectors the oldest are dropped; None keeps all.

    With `stored`, vectors of passages are read from the database before they are computed, and `store` puts them there.
    """

    def __init__(
        self,
        inner: Embedder,
        *,
        one_by_one: bool = False,
        max_texts: int | None = None,
        stored: UserVectors | None = None,
    ) -> None:
        self.inner = inner
        self.id = inner.id
        self.one_by_one = one_by_one
        self.max_texts = max_texts
        self._stored = stored
        self.token_form: str | None = inner.token_form if gives_tokens(inner) else None
        self._known: dict[bytes, Vectors] = {}
        self._tokens: dict[bytes, TokenStates] = {}
        self._lock = ForkLock()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.inner.dimension

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimension), as the embedder inside gives them."""
        return self._rows(texts, role, None)

    def embed_tokens(self, texts: Sequence[str], *, role: Role = "passage") -> tuple[Vectors, list[TokenStates]]:
        """As the embedder inside gives them; for one with a `token_form`."""
        inner = self.inner
        assert gives_tokens(inner), f"the embedder {self.id} gives no token states"
        keys = _keys(texts, role)
        with self._lock:
            new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._tokens}
            for part in self._parts(list(new)):
                vectors, states = inner.embed_tokens([new[key] for key in part], role=role)
                self._known.update(zip(part, vectors, strict=True))
                self._tokens.update(zip(part, states, strict=True))
            found = [self._tokens[key] for key in keys]
        return self.embed(texts, role=role), found

    def embed_some(self, texts: Sequence[str], *, limit: int) -> Vectors:
        """As `embed`, but at most `limit` new texts are embedded, the last ones; the others are rows of NaN."""
        return self._rows(texts, "passage", limit)

    def store(self, texts: Sequence[str], *, seen: int) -> None:
        """Put the vectors of passages into the database, computing those that are missing. Call it outside transactions.

        `seen` is the place of the user's newest event when the texts were read: what was changed since is not stored.
        """
        if self._stored is not None:
            keys = _keys(texts, "passage")
            there, vectors = self._stored.read(keys), self.embed(texts)
            self._stored.write({key: vector for key, vector in zip(keys, vectors, strict=True) if key not in there}, seen)

    def _rows(self, texts: Sequence[str], role: Role, limit: int | None) -> Vectors:
        keys = _keys(texts, role)
        with self._lock:  # held while embedding: two threads never embed the same text
            new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
            if new and self._stored is not None and role == "passage":
                self._known.update(self._stored.read(list(new)))
                new = {key: text for key, text in new.items() if key not in self._known}
            wanted = list(new)[max(0, len(new) - limit) :] if limit is not None else list(new)
            for part in self._parts(wanted):
                self._known.update(zip(part, self.inner.embed([new[key] for key in part], role=role), strict=True))
            rows = [self._known.get(key) for key in keys]
            while self.max_texts is not None and len(self._known) > self.max_texts:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self._tokens.pop(oldest, None)
        if not rows:
            return np.zeros((0, self.dimension), np.float32)
        unknown = np.full(self.dimension, np.nan, np.float32)
        return np.stack([unknown if row is None else row for row in rows])

    def _parts(self, keys: Sequence[bytes]) -> list[Sequence[bytes]]:
        """What the embedder is handed at once."""
        size = 1 if self.one_by_one else _BATCH
        return [keys[start : start + size] for start in range(0, len(keys), size)]


class UserVectors:
    """The vectors of one user in a database, by the digest of their text."""

    def __init__(self, database: Database, user: str) -> None:
        self._database, self._user = database, user

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """Those that are there."""
        with self._database.read() as connection:
            user = log.user_id(connection, self._user)
            return {} if user is None else get_vectors(connection, user, keys)

    def write(self, vectors: Mapping[bytes, Vectors], seen: int) -> None:
        """Add vectors, unless anything was purged or changed after the event `seen`: their texts may be gone."""
        if vectors:
            with self._database.write() as connection:
                user = log.user_id(connection, self._user)
                if user is not None and not log.changed_since(connection, user, seen):
                    put_vectors(connection, user, vectors)


def _keys(texts: Sequence[str], role: Role) -> list[bytes]:
    return [log.digest(text) if role == "passage" else log.digest(role, text) for text in texts]


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Linear algebra on one thread: how a sum is shared out among several changes its last bits."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with the embedders that need it
        yield
        return
    with threadpool_limits(1, user_api="blas"):
        yield
