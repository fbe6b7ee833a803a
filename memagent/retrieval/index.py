"""The search index of one user: a replica of the event log in memory, one row for each passage of each message.

`catch_up` applies the events since the last call, so a message that any process committed a moment ago is found without
anyone re-indexing. Vectors come from the store; ones that are missing are computed by `embed_missing`, newest first, as
many as the caller allows. A snapshot on disk spares a large store the replay; it is only a cache, checked and thrown away
when it does not fit.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memagent.db import log
from memagent.db.sqlite import Database
from memagent.db.vectors import get_vectors, put_vectors
from memagent.retrieval import snapshot
from memagent.retrieval.embedders.base import Embedder, Vectors
from memagent.retrieval.growable_array import GrowableArray
from memagent.retrieval.lexical import LexicalIndex
from memagent.retrieval.vectors import VectorIndex
from memagent.text import tokens
from memagent.text.sentences import indexed_text, spans

INDEX_VERSION = 2
BATCH = 256
"""Texts handed to the embedder at once."""
LOOK_UP_FROM = 16
"""New passages from which the store is asked for vectors that another process may have made."""
PROSE_WORDS = 25
"""Words with content that a message has at least on average in a collection of documents; turns of a talk have about ten."""
SNAPSHOT_FROM = 2_000
"""Passages from which a snapshot is worth its file; fewer are replayed in some 50 ms."""


class PassageRef(NamedTuple):
    """One searchable passage."""

    seq: int
    """The message's place in the log."""
    start: int
    stop: int
    """Where the passage stands in the message's text."""


@dataclass(frozen=True)
class Named:
    """Speakers of a user's dialogues by number, and sessions by number."""

    speakers: dict[str, int]
    sessions: dict[str, int]


@dataclass
class SessionShape:
    """What the messages of a session look like."""

    messages: int = 0
    words: int = 0
    """Those that carry content."""
    voices: set[str] = field(default_factory=set)
    """Who speaks."""

    @property
    def prose(self) -> bool:
        """Whether these are documents rather than a talk: long, no assistant among them, and all of one voice or hardly two of
        the same.
        """
        if any(voice.startswith("assistant") for voice in self.voices):
            return False
        return self.words >= PROSE_WORDS * self.messages and (len(self.voices) == 1 or 2 * len(self.voices) > self.messages)


class UserIndex:
    """All passages of one user, in the order of the log. Use it under its `lock`."""

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
        self._folder = folder
        self.lock = threading.RLock()
        self._reset()

    def _reset(self) -> None:
        self.cursor = 0
        self.row_id: int | None = None  # of the user, who may be purged and made again
        self._saved = 0
        self.lexical = LexicalIndex()
        self.vectors: VectorIndex | None = None
        self._unstored: dict[bytes, Vectors] = {}
        self._length_sum = self._length_squares = 0.0
        self._fresh: dict[int, str] = {}  # texts of rows that are about to be embedded
        self.named = Named({}, {})
        self.shapes: list[SessionShape] = []  # by number of the session
        self.seqs: GrowableArray[np.int64] = GrowableArray(np.int64)
        self.bounds: GrowableArray[np.int32] = GrowableArray(np.int32, width=2)
        self.sessions: GrowableArray[np.int32] = GrowableArray(np.int32)
        self.speakers: GrowableArray[np.int32] = GrowableArray(np.int32)
        self.alive: GrowableArray[np.bool_] = GrowableArray(np.bool_)
        self.checked: GrowableArray[np.bool_] = GrowableArray(np.bool_)  # 1 = the store was asked for this row's vector
        self.embedded: GrowableArray[np.bool_] = GrowableArray(np.bool_)  # 1 = this row has its vector
        self.lengths: GrowableArray[np.float32] = GrowableArray(np.float32)
        self.questions: GrowableArray[np.bool_] = GrowableArray(np.bool_)
        self.times: GrowableArray[np.bool_] = GrowableArray(np.bool_)
        self.months: GrowableArray[np.int8] = GrowableArray(np.int8)

    def columns(self) -> dict[str, GrowableArray[Any]]:
        """Every column by name, for a snapshot."""
        return {name: value for name, value in vars(self).items() if isinstance(value, GrowableArray)}

    def __len__(self) -> int:
        return len(self.seqs)

    def unit(self, row: int) -> PassageRef:
        """The passage in a row."""
        start, stop = self.bounds.rows[row].tolist()
        return PassageRef(int(self.seqs.rows[row]), start, stop)

    def allowed(self, session: str | None) -> NDArray[np.bool_]:
        """1 = this row is live and, if a session is named, stands in it. Shape (rows,)."""
        if session is None:
            return self.alive.rows
        found: NDArray[np.bool_] = self.alive.rows & (self.sessions.rows == self.named.sessions.get(session, -1))
        return found

    def prose(self) -> NDArray[np.bool_]:
        """1 = this session holds documents rather than a talk. Shape (sessions,)."""
        return np.array([shape.prose for shape in self.shapes], np.bool_)

    def length_moments(self) -> tuple[float, float]:
        """Mean and deviation of the log length of all passages."""
        if not len(self):
            return 0.0, 0.0
        mean = self._length_sum / len(self)
        return mean, max(self._length_squares / len(self) - mean * mean, 0.0) ** 0.5

    def live_messages(self, session: str | None) -> int:
        """Number of messages that are not forgotten, of all sessions or of one."""
        return int(np.count_nonzero(self.allowed(session) & (self.bounds.rows[:, 0] == 0)))

    def catch_up(self) -> None:
        """Apply what was committed since the last call."""
        with self.lock, self._database.read() as connection:
            user = log.user_id(connection, self._user)
            if user != self.row_id:
                self._reset()
                self.row_id = user
                if user is not None:
                    self._load_snapshot()
            if user is not None:
                self._apply(connection, user)

    def _apply(self, connection: sqlite3.Connection, user: int) -> None:
        rows = connection.execute(
            "SELECT seq, action, item FROM events WHERE user_id = ? AND seq > ? ORDER BY seq", (user, self.cursor)
        ).fetchall()
        if not rows:
            return
        if any(action in ("purge", "edit") for _, action, _ in rows):
            self._reset()
            self.row_id = user
        for stored in log.read(connection, user, after=self._last_message(), with_dead=True):
            self._add(stored)
        for _, action, item in rows:
            if action in ("forget", "restore"):
                self._set_alive(connection, user, item)
        self.cursor = rows[-1][0]

    def _set_alive(self, connection: sqlite3.Connection, user: int, item: str) -> None:
        found = connection.execute("SELECT seq, alive FROM messages WHERE user_id = ? AND id = ?", (user, item)).fetchone()
        if found is not None:
            first, last = np.searchsorted(self.seqs.rows, [found[0], found[0] + 1])
            self.alive.rows[first:last] = bool(found[1])

    def _last_message(self) -> int:
        return int(self.seqs.rows[-1]) if len(self) else 0

    def _add(self, stored: log.Stored) -> None:
        message, text = stored.message, stored.message.text
        session = self.named.sessions.setdefault(stored.session, len(self.named.sessions))
        speaker = self.named.speakers.setdefault(message.speaker, len(self.named.speakers)) if message.speaker else -1
        assert message.time is not None
        if session == len(self.shapes):
            self.shapes.append(SessionShape())
        shape = self.shapes[session]
        shape.messages += 1
        shape.voices.add(f"{message.role} {message.speaker or ''}")
        for start, stop in spans(text):
            passage = text[start:stop]
            self.lexical.add(tokens.terms(indexed_text(message.speaker, passage)), parts=tokens.parts(passage))
            if len(self._fresh) < BATCH:
                self._fresh[len(self)] = indexed_text(message.speaker, passage)
            self.seqs.append(stored.seq)
            self.bounds.append([start, stop])
            self.sessions.append(session)
            self.speakers.append(speaker)
            self.alive.append(stored.alive)
            self.checked.append(False)
            self.embedded.append(False)
            content = tokens.content_words(passage)
            shape.words += content
            length = math.log1p(content)
            self._length_sum += length
            self._length_squares += length * length
            self.lengths.append(length)
            self.questions.append(passage.rstrip().endswith("?"))
            self.times.append(tokens.tells_time(passage))
            self.months.append(message.time.month)

    def missing(self) -> int:
        """Passages without a vector in the store, forgotten ones left out."""
        self._take_known()
        return int(np.count_nonzero(~self.embedded.rows & self.alive.rows))

    def embed_missing(self, *, limit: int | None = None, progress: Callable[[int], None] | None = None) -> int:
        """Give vectors to passages that have none: from the store where it knows the text, else by the embedder.

        At most `limit` passages are embedded, the newest first. Returns how many were.
        """
        with self.lock:
            if limit is None or np.count_nonzero(~self.checked.rows) >= LOOK_UP_FROM:
                self._take_known()  # a few fresh messages: the store hardly has their vectors, computing is cheaper
            embedder = self._embedder() if not self.embedded.rows.all() else None
            if embedder is None:
                return 0
            wanted = np.flatnonzero(~self.embedded.rows & self.alive.rows)[::-1][:limit]
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
            self._put([(row, known[key]) for row, key in zip(rows, keys, strict=True) if key in known])
            self.checked.rows[rows] = True

    def _embed(self, rows: list[int], embedder: Embedder) -> None:
        by_text: dict[str, list[int]] = {}
        for row, text in zip(rows, self.texts(rows), strict=True):
            by_text.setdefault(text, []).append(row)
        vectors = dict(zip(by_text, embedder.embed(list(by_text)), strict=True))
        self._unstored.update((log.digest(text), vector) for text, vector in vectors.items())
        self._put([(row, vectors[text]) for text, same in by_text.items() for row in same])

    def store_vectors(self) -> None:
        """Write to the store the vectors computed since the last call; until then they are this process's own."""
        with self.lock:
            if self._unstored and not self._database.read_only:
                with self._database.write() as connection:
                    if self.row_id is not None and log.user_id(connection, self._user) == self.row_id:
                        put_vectors(connection, self.row_id, self._unstored)
            self._unstored.clear()

    def _put(self, found: Sequence[tuple[int, Vectors]]) -> None:
        if not found:
            return
        dimension = len(found[0][1])
        if self.vectors is None:
            self.vectors = VectorIndex(dimension)
        self.vectors.extend(np.zeros((len(self) - len(self.vectors), dimension), np.float32))
        for row, vector in found:
            self.vectors.put(row, vector)
            self.embedded.rows[row] = True

    def texts(self, rows: Sequence[int]) -> list[str]:
        """The searched text of each row, empty where the message was purged a moment ago."""
        known = {row: self._fresh[row] for row in rows if row in self._fresh}
        units = {row: self.unit(row) for row in rows if row not in known}
        if units:
            with self._database.read() as connection:
                stored = log.read_many(connection, {unit.seq for unit in units.values()})
            known.update((row, _passage(stored.get(unit.seq), unit)) for row, unit in units.items())
        return [known[row] for row in rows]

    def _load_snapshot(self) -> None:
        arrays = snapshot.load(self._snapshot_path, self._snapshot_key)
        if arrays is None:
            return
        self.lexical.load(arrays)
        for name, column in self.columns().items():
            column.extend(arrays[name])
        lengths = self.lengths.rows.astype(np.float64)
        self._length_sum, self._length_squares = float(lengths.sum()), float(lengths @ lengths)
        names = json.loads(bytes(arrays["names"].tobytes()))
        self.named = Named(names["speakers"], names["sessions"])
        self.shapes = [SessionShape(messages, words, set(voices)) for messages, words, voices in names["shapes"]]
        self.cursor = self._saved = int(names["cursor"])
        if "vectors" in arrays:
            self.vectors = VectorIndex(arrays["vectors"].shape[1])
            self.vectors.extend(arrays["vectors"])

    def save_snapshot(self) -> None:
        """Write the index to disk when it is large and has grown by a tenth; a small one is replayed faster."""
        with self.lock:
            new = self.cursor - self._saved
            if self.row_id is None or self._database.read_only or len(self) < SNAPSHOT_FROM or new * 10 < len(self):
                return
            shapes = [(one.messages, one.words, sorted(one.voices)) for one in self.shapes]
            names = {"speakers": self.named.speakers, "sessions": self.named.sessions, "shapes": shapes, "cursor": self.cursor}
            arrays = self.lexical.dump() | {name: column.rows for name, column in self.columns().items()}
            arrays["names"] = np.frombuffer(json.dumps(names).encode(), np.uint8)
            if self.vectors is not None and len(self.vectors) == len(self):
                arrays["vectors"] = self.vectors.rows
            snapshot.save(self._snapshot_path, self._snapshot_key, arrays)
            self._saved = self.cursor

    @property
    def _snapshot_path(self) -> Path:
        return self._folder / f"user-{self.row_id}.npz"

    @property
    def _snapshot_key(self) -> str:
        embedder = self._embedder_id() or "none"
        return f"{INDEX_VERSION}/{tokens.ANALYSIS_VERSION}/{embedder}"


def _passage(stored: log.Stored | None, unit: PassageRef) -> str:
    if stored is None:
        return ""
    return indexed_text(stored.message.speaker, stored.message.text[unit.start : unit.stop])
