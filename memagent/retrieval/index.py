"""The search index of one user: a replica of the event log in memory, one row for each passage of each message.

`catch_up` applies the events since the last call, so a message that any process committed a moment ago is found, and one
that was edited or purged is changed, without anyone re-indexing. Vectors come from the store; ones that are missing are
computed by `embed_missing`, newest first, as many as the caller allows. A snapshot on disk spares a large store the replay;
it is only a cache, thrown away when it is of another database, or of a time that is not in this one's past.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memagent.db import changes, log
from memagent.db.sqlite import Database
from memagent.db.vectors import get_tokens, get_vectors, put_vectors
from memagent.errors import StoreError
from memagent.forks import ForkLock
from memagent.retrieval import snapshot
from memagent.retrieval.embedders.base import Embedder, TokenStates, Vectors, gives_tokens
from memagent.retrieval.passages import PassageRef, PassageTable
from memagent.retrieval.token_index import TokenIndex
from memagent.retrieval.vectors import VectorIndex
from memagent.text import tokens
from memagent.text.sentences import indexed_text

logger = logging.getLogger(__name__)

INDEX_VERSION = 7
BATCH = 256
"""Texts handed to the embedder at once."""
LOOK_UP_FROM = 16
"""New passages from which the store is asked for vectors that another process may have made."""
SNAPSHOT_FROM = 2_000
"""Passages from which a snapshot is worth its file; fewer are replayed in some 50 ms."""
COMPACT_FROM = 1_000
"""Empty rows from which an index that is mostly empty is made anew."""


class UserIndex(PassageTable):
    """All passages of one user, as the log has them. Use it under its `lock`."""

    def __init__(
        self,
        database: Database,
        user: str,
        *,
        embedder: Callable[[], Embedder | None],
        embedder_id: Callable[[], str | None],
        folder: Path,
    ) -> None:
        self._database = database
        self._user = user
        self._embedder = embedder  # called when vectors are needed: loading one may take seconds
        self._embedder_id = embedder_id
        self.path = folder / f"{log.digest(user).hex()}.npz"
        self.lock = ForkLock()
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self.row_id: int | None = None  # of the user, who may be purged and made again
        self.position = changes.Position()
        self._saved = 0
        self.vectors: VectorIndex | None = None
        self.tokens: TokenIndex | None = None
        self._unstored: dict[int, tuple[bytes, Vectors, TokenStates | None]] = {}  # by row, with the digest of the text
        self._fresh: dict[int, str] = {}  # texts of rows that are about to be embedded

    def catch_up(self) -> None:
        """Apply what was committed since the last call."""
        with self.lock, self._database.read() as connection:
            self._follow(connection)

    def _follow(self, connection: sqlite3.Connection) -> None:
        """Apply what is new in the state of the store that this transaction sees."""
        user = log.user_id(connection, self._user)
        if self.lock.interrupted:
            self.row_id, self.lock.interrupted = None, False
            self._reset()
        if user != self.row_id or (user is not None and not changes.follows(connection, user, self.position)):
            self._reset()
            self.row_id = user
            if user is not None:
                self._load_snapshot(connection, user)
        if user is not None and (found := changes.since(connection, user, self.position)) is not None:
            self._apply(connection, user, found)

    def _apply(self, connection: sqlite3.Connection, user: int, found: changes.Changes) -> None:
        known = self.position.seq
        for seq in found.purged:
            self._remove(seq)
        for stored in log.read_many(connection, user, [seq for seq in found.edited if seq <= known]).values():
            self._add(stored, after=self._remove(stored.seq))
        for stored in log.read(connection, user, after=known, with_dead=True):
            self._add(stored)
        for seq, alive in found.alive.items():
            self.alive.rows[self.rows_of(seq)] = alive
        if self.vectors is not None:
            self._widen_vectors(self.vectors)
        self.position = found.position
        if found.purged:
            self._saved = 0  # the file is gone
        if self.removed > max(len(self) // 2, COMPACT_FROM):
            self._compact()

    def _add(self, stored: log.Stored, *, after: int | None = None) -> None:
        start = len(self)
        self.add(stored, after=after)
        for row in range(start, len(self)):
            if len(self._fresh) < BATCH:
                self._fresh[row] = _passage(stored, self.unit(row))

    def _remove(self, seq: int) -> int | None:
        """Empty the rows of a message. Returns the row before them in the log; None when there are none."""
        rows = self.rows_of(seq)
        if not len(rows):
            return None
        if self.vectors is not None:
            self.vectors.clear(rows)
        if self.tokens is not None:
            self.tokens.clear(rows)
        for row in rows.tolist():
            self._fresh.pop(row, None)
            self._unstored.pop(row, None)
        return self.remove(rows)

    def _compact(self) -> None:
        """Make the table anew without its empty rows."""
        order = self.order()
        new_rows = dict(zip(order.tolist(), range(len(order)), strict=True))
        kept = (self.row_id, self.position, self._saved, {new_rows[row]: one for row, one in self._unstored.items()})
        arrays = self._arrays()
        self._reset()
        self._fill(arrays)
        self.row_id, self.position, self._saved, self._unstored = kept

    def missing(self) -> int:
        """Passages without a vector in the store, forgotten ones left out."""
        self._take_known()
        return int(np.count_nonzero(~self.embedded.rows & self.alive.rows))

    def embed_missing(
        self, *, limit: int | None = None, states: bool = False, progress: Callable[[int], None] | None = None
    ) -> int:
        """Give vectors to passages that have none: from the store where it knows the text, else by the embedder.

        At most `limit` passages are embedded, the newest first. Returns how many were. With `states` these are also passages
        with a vector of an older version of this package, which kept no token states.
        """
        with self.lock:
            if limit is None or np.count_nonzero(~self.checked.rows) >= LOOK_UP_FROM:
                self._take_known()  # a few fresh messages: the store hardly has their vectors, computing is cheaper
            without = self.alive.rows & ~self.embedded.rows
            embedder = self._embedder() if without.any() or (states and self.alive.rows.any()) else None
            if embedder is None:
                return 0
            if gives_tokens(embedder):
                self._expect_states(embedder.token_form)
                without |= self.alive.rows & ~self.tokenized.rows & states
            wanted = np.flatnonzero(without)[::-1][:limit]
            for start in range(0, len(wanted), BATCH):
                batch = wanted[start : start + BATCH].tolist()
                self._embed(batch, embedder)
                if progress is not None:
                    progress(len(batch))
            self._fresh.clear()
            return len(wanted)

    def _take_known(self) -> None:
        """Read the vectors that the store has for rows not looked up yet."""
        unchecked = np.flatnonzero(~self.checked.rows)
        for start in range(0, len(unchecked), BATCH):
            rows = unchecked[start : start + BATCH].tolist()
            keys = [log.digest(text) for text in self.texts(rows)]
            with self._database.read() as connection:
                known = get_vectors(connection, self.row_id or 0, keys)
                beside = {key: _states(raw) for key, raw in get_tokens(connection, self.row_id or 0, keys).items()}
            self._put([(row, known[key], beside.get(key)) for row, key in zip(rows, keys, strict=True) if key in known])
            self.checked.rows[rows] = True

    def _embed(self, rows: list[int], embedder: Embedder) -> None:
        by_text: dict[str, list[int]] = {}
        for row, text in zip(rows, self.texts(rows), strict=True):
            by_text.setdefault(text, []).append(row)
        states: Sequence[TokenStates | None] = [None] * len(by_text)
        if gives_tokens(embedder):
            vectors, states = embedder.embed_tokens(list(by_text))
        else:
            vectors = embedder.embed(list(by_text))
        assistant = dict(zip(rows, self.of_assistant(np.array(rows)), strict=True))
        for (text, same), vector, made in zip(by_text.items(), vectors, states, strict=True):
            found = [(row, vector, None if assistant[row] else made) for row in same]
            self._unstored.update((row, (log.digest(text), vector, kept)) for row, vector, kept in found)
            self._put(found)

    def _expect_states(self, form: str | None) -> None:
        """Forget token states of another form than the embedder's."""
        if self.tokens is not None and self.tokens.form != form:
            self.tokens, self.tokenized.rows[:] = None, self.of_assistant(np.arange(len(self)))

    def store_vectors(self) -> None:
        """Write to the store the vectors computed since the last call; until then they are this process's own."""
        with self.lock:
            if self._unstored and not self._database.read_only:
                with self._database.write() as connection:
                    self._follow(connection)  # what was purged meanwhile must not come back
                    if self.row_id is not None:
                        made = self._unstored.values()
                        beside = {key: states.to_bytes() for key, _, states in made if states is not None}
                        put_vectors(connection, self.row_id, {key: vector for key, vector, _ in made}, beside)
            self._unstored.clear()

    def _put(self, found: Sequence[tuple[int, Vectors, TokenStates | None]]) -> None:
        if not found:
            return
        if self.vectors is None:
            self.vectors = VectorIndex(len(found[0][1]))
        self._widen_vectors(self.vectors)
        for row, vector, states in found:
            self.vectors.put(row, vector)
            self.embedded.rows[row] = True
            if states is None or self.tokenized.rows[row]:
                continue
            if self.tokens is None:
                self.tokens = TokenIndex(states.form, states.states.shape[1])
            if self.tokens.form == states.form:
                self.tokens.put(row, states)
                self.tokenized.rows[row] = True

    def _widen_vectors(self, vectors: VectorIndex) -> None:
        """A row for each passage, of zeros where nothing was embedded yet."""
        vectors.extend(np.zeros((len(self) - len(vectors), vectors.rows.shape[1]), np.float32))

    def texts(self, rows: Sequence[int]) -> list[str]:
        """The searched text of each row, empty where the message was purged a moment ago."""
        known = {row: self._fresh[row] for row in rows if row in self._fresh}
        units = {row: self.unit(row) for row in rows if row not in known}
        if units:
            with self._database.read() as connection:
                stored = log.read_many(connection, self.row_id or 0, {unit.seq for unit in units.values()})
            known.update((row, _passage(stored.get(unit.seq), unit)) for row, unit in units.items())
        return [known[row] for row in rows]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The index as arrays, without its empty rows."""
        order = self.order()
        arrays = self.dump(order)
        if self.vectors is not None:
            arrays["vectors"] = self.vectors.rows if not self.removed else self.vectors.rows[order]
        if self.tokens is not None:
            arrays |= self.tokens.dump(order)
        return arrays

    def _fill(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.load(arrays)
        if "vectors" in arrays:
            self.vectors = VectorIndex(arrays["vectors"].shape[1])
            self.vectors.extend(arrays["vectors"])
        if "token_states" in arrays:
            self.tokens = TokenIndex.load(arrays)

    def _load_snapshot(self, connection: sqlite3.Connection, user: int) -> None:
        """Take the index from its file, if that is of this database, and of a time that lies in its past."""
        arrays = snapshot.load(self.path, self._snapshot_key)
        if arrays is None:
            return
        position = changes.Position(int(arrays["seq"][0]), arrays["mark"].tobytes())
        if changes.follows(connection, user, position):
            self._fill(arrays)
            self.position, self._saved = position, position.seq

    def save_snapshot(self) -> None:
        """Write the index to disk when it is large and has grown by a tenth; a small one is replayed faster.

        Where that cannot be done it is not needed either: a warning is all.
        """
        with self.lock:
            new = self.position.seq - self._saved
            if self.row_id is None or self._database.read_only or len(self) < SNAPSHOT_FROM or new * 10 < len(self):
                return
            try:
                with snapshot.draft(self.path) as write:
                    # Only now: who purges after this finds the draft and deletes it.
                    self.catch_up()
                    place = {"seq": np.array([self.position.seq]), "mark": np.frombuffer(self.position.mark, np.uint8)}
                    write(self._snapshot_key, self._arrays() | place)
            except (OSError, StoreError) as error:
                logger.warning("the search index is not kept on disk, the next start takes longer: %s", error)
            self._saved = self.position.seq

    def rewrite_snapshot(self) -> None:
        """Delete the index's file and drafts of it, as a purge does. A file that was there is written anew."""
        with self.lock:
            was_there = self.path.exists()
            if was_there:
                self.catch_up()
            snapshot.delete(self.path)
            if was_there:
                self._saved = 0
                self.save_snapshot()

    @property
    def _snapshot_key(self) -> str:
        parts = (INDEX_VERSION, tokens.ANALYSIS_VERSION, self._embedder_id() or "none", self._database.identity, self.row_id)
        return "/".join(map(str, parts))


def _states(raw: bytes) -> TokenStates | None:
    """Stored token states; None for bytes that are none, which are made anew."""
    try:
        return TokenStates.from_bytes(raw)
    except ValueError:
        return None


def _passage(stored: log.Stored | None, unit: PassageRef) -> str:
    if stored is None:
        return ""
    return indexed_text(stored.message.speaker, stored.message.text[unit.start : unit.stop])
