"""The table of one user's passages: columns of what scoring asks for, one row for each passage of each message.

Rows are only ever appended. A message that is removed leaves empty rows (seq -1, not alive, no words); one whose text changed
is removed and added again, in new rows at the end. So the order of rows is not the order of the log: each row knows the
rows before and after it in the log (`neighbours`), and `dump` writes the rows that hold something, in the log's order.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memagent.db.log import Stored
from memagent.retrieval.growable_array import GrowableArray
from memagent.retrieval.lexical import LexicalIndex
from memagent.text import tokens
from memagent.text.corrections import COMPARED, may_correct
from memagent.text.dates import days_told
from memagent.text.sentences import indexed_text, spans
from memagent.types import Message

PROSE_WORDS = 25
"""Words with content that a message has at least on average in a collection of documents; turns of a talk have about ten."""
NONE = -1
"""Stands for no row, no speaker, no message."""

_LEXICAL, _CORRECTING = "lexical.", "correcting."
"""Begin the names of the lexical indexes' arrays in a dump."""

Rows = NDArray[np.int64]


class PassageRef(NamedTuple):
    """One searchable passage."""

    seq: int
    """The message's place in the log."""
    start: int
    stop: int
    """Where the passage stands in the message's text."""


@dataclass
class Named:
    """Numbers of the speakers, voices (a role with its speaker) and sessions that the messages of a user have."""

    speakers: dict[str, int] = field(default_factory=dict)
    voices: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)


@dataclass
class SessionShape:
    """What the messages of a session look like."""

    messages: int = 0
    words: int = 0
    """Those that carry content."""
    voices: Counter[int] = field(default_factory=Counter)
    """How many messages each voice has."""


class TalkShape(NamedTuple):
    """What the sessions of a table are."""

    prose: NDArray[np.bool_]
    """1 = this session holds documents rather than a talk. Shape (sessions,)."""
    with_assistant: NDArray[np.bool_]
    """1 = an assistant speaks in this session. Shape (sessions,)."""
    participants: dict[str, int]
    """Numbers of the people who speak, by name."""


class PassageTable:
    """Passages in rows, with the words of each (`lexical`)."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.lexical = LexicalIndex()
        self.correcting = LexicalIndex()  # the words of the rows in `correcting_rows`, in their order
        self.named = Named()
        self.shapes: list[SessionShape] = []  # by number of the session
        self._first = self._last = NONE  # rows, in the order of the log
        self._talk: TalkShape | None = None  # until a message comes or goes
        self.removed = 0  # rows that are empty
        self.seqs: GrowableArray[np.int64] = GrowableArray(np.int64)
        self.bounds: GrowableArray[np.int32] = GrowableArray(np.int32, width=2)
        self.sessions: GrowableArray[np.int32] = GrowableArray(np.int32)
        self.speakers: GrowableArray[np.int32] = GrowableArray(np.int32)
        self.voices: GrowableArray[np.int32] = GrowableArray(np.int32)
        self.alive: GrowableArray[np.bool_] = GrowableArray(np.bool_)
        self.checked: GrowableArray[np.bool_] = GrowableArray(np.bool_)  # 1 = the store was asked for this row's vector
        self.embedded: GrowableArray[np.bool_] = GrowableArray(np.bool_)  # 1 = this row has its vector
        self.tokenized: GrowableArray[np.bool_] = GrowableArray(
            np.bool_
        )  # 1 = this row has the token states that it is to have
        self.words: GrowableArray[np.int32] = GrowableArray(np.int32)  # those that carry content
        self.questions: GrowableArray[np.bool_] = GrowableArray(np.bool_)
        self.corrections: GrowableArray[np.bool_] = GrowableArray(np.bool_)  # 1 = its user may correct what was said before
        self.correcting_rows: GrowableArray[np.int64] = GrowableArray(np.int64)  # those of which `corrections` was ever 1
        self.times: GrowableArray[np.bool_] = GrowableArray(np.bool_)
        self.days: GrowableArray[np.int32] = GrowableArray(np.int32)  # when it was said, as `date.toordinal` has it
        self.told: GrowableArray[np.int32] = GrowableArray(np.int32, width=2)  # days that it names, else as `days`
        self._leads: GrowableArray[np.bool_] = GrowableArray(np.bool_)  # 1 = the first passage of its message
        self._firsts: GrowableArray[np.int64] = GrowableArray(np.int64)  # row of the first passage of the message
        self._parts: GrowableArray[np.int64] = GrowableArray(np.int64)  # passages of the message, which lie side by side
        self._before: GrowableArray[np.int64] = GrowableArray(np.int64)
        self._after: GrowableArray[np.int64] = GrowableArray(np.int64)

    def _columns(self) -> dict[str, GrowableArray[Any]]:
        """Columns of all rows that a dump holds, by name."""
        links = (self._before, self._after, self._leads, self._firsts, self._parts, self.correcting_rows)
        return {name: value for name, value in vars(self).items() if isinstance(value, GrowableArray) and value not in links}

    def __len__(self) -> int:
        return len(self.seqs)

    # -- reading -------------------------------------------------------------------------------------------------------

    def unit(self, row: int) -> PassageRef:
        """The passage in a row."""
        start, stop = self.bounds.rows[row].tolist()
        return PassageRef(int(self.seqs.rows[row]), start, stop)

    def allowed(self, session: str | None) -> NDArray[np.bool_]:
        """1 = this row is live and, if a session is named, stands in it. Shape (rows,)."""
        if session is None:
            return self.alive.rows
        found: NDArray[np.bool_] = self.alive.rows & (self.sessions.rows == self.named.sessions.get(session, NONE))
        return found

    def next_passages(self, rows: Rows, step: int) -> Rows:
        """The row after each in the log (before it, where `step` is -1); `NONE` where none stands, and for `NONE`."""
        links = self._after if step > 0 else self._before
        return np.where(rows == NONE, NONE, links.rows[rows])

    def next_messages(self, firsts: Rows, step: int) -> Rows:
        """As `next_passages`, but messages by their first rows."""
        if step > 0:
            last = self._firsts.rows[firsts] + self._parts.rows[firsts] - 1
            return np.where(firsts == NONE, NONE, self._after.rows[last])
        before = self._before.rows[firsts]
        return np.where((firsts == NONE) | (before == NONE), NONE, self._firsts.rows[before])

    def talk(self) -> TalkShape:
        """What the sessions are, and who takes part in talks.

        Documents are long, no assistant is among them, and all are of one voice or hardly two of the same. A short message
        under a name and in a session of its own is a document where most of such messages are: an article of a line among
        articles.

        People take part who speak in a talk, or in several sessions, as who keeps a diary does. What "speaks" in one session
        of documents is a title; a question that holds a word of it is not about a speaker.
        """
        if self._talk is None:
            assistants = self._assistants()
            with_assistant = np.array([not assistants.isdisjoint(shape.voices) for shape in self.shapes], np.bool_)
            prose = self._prose(assistants)
            self._talk = TalkShape(prose, with_assistant, self._participants(prose))
        return self._talk

    def _prose(self, assistants: set[int]) -> NDArray[np.bool_]:
        long = np.array([self._is_prose(shape, assistants) for shape in self.shapes], np.bool_)
        titled = self._titled(assistants)
        mostly = 2 * np.count_nonzero(long & titled) > np.count_nonzero(titled)
        return long | titled if mostly else long

    def _titled(self, assistants: set[int]) -> NDArray[np.bool_]:
        """1 = this session is a single message under a name that no other session knows. Shape (sessions,)."""
        heard = self._heard()
        own = {number for voice, number in self.named.voices.items() if not voice.endswith(" ") and heard[number] == 1}
        own -= assistants
        return np.array([shape.messages == 1 and own.issuperset(shape.voices) for shape in self.shapes], np.bool_)

    def _is_prose(self, shape: SessionShape, assistants: set[int]) -> bool:
        if not shape.messages or not assistants.isdisjoint(shape.voices):
            return False
        voices = len(shape.voices)
        return shape.words >= PROSE_WORDS * shape.messages and (voices == 1 or 2 * voices > shape.messages)

    def of_assistant(self, rows: Rows) -> NDArray[np.bool_]:
        """1 = the assistant speaks in this row. Shape (rows,)."""
        return np.isin(self.voices.rows[rows], list(self._assistants()))

    def _assistants(self) -> set[int]:
        """Numbers of the voices of assistants."""
        return {number for voice, number in self.named.voices.items() if voice.startswith("assistant")}

    def _participants(self, prose: NDArray[np.bool_]) -> dict[str, int]:
        talks = (shape for shape, of_prose in zip(self.shapes, prose.tolist(), strict=True) if not of_prose)
        people = {voice for voice, times in self._heard().items() if times > 1}.union(*(shape.voices for shape in talks))
        names = {voice.partition(" ")[2] for voice, number in self.named.voices.items() if number in people}
        return {name: number for name, number in self.named.speakers.items() if name in names}

    def _heard(self) -> Counter[int]:
        """In how many sessions each voice speaks."""
        return Counter(voice for shape in self.shapes for voice in shape.voices)

    def voice(self, message: Message) -> int:
        """The number of the voice that a message is said in; `NONE` where there is none like it."""
        return self.named.voices.get(_voice(message), NONE)

    def message_of(self, rows: Rows) -> tuple[Rows, Rows]:
        """The first row of the message that each row is of, and how many rows that message has; they lie side by side."""
        return self._firsts.rows[rows], self._parts.rows[rows]

    def live_messages(self, session: str | None) -> int:
        """Number of messages that are not forgotten, of all sessions or of one."""
        return int(np.count_nonzero(self.allowed(session) & self._leads.rows))

    def rows_of(self, seq: int) -> Rows:
        """The rows of a message, in the order of its passages; a scan over all rows."""
        return np.flatnonzero(self.seqs.rows == seq)

    # -- changing ------------------------------------------------------------------------------------------------------

    def add(self, stored: Stored, *, after: int | None = None) -> None:
        """Append the passages of a message; they follow the row `after` in the log (None: the last one, `NONE`: none)."""
        message, text = stored.message, stored.message.text
        assert message.time is not None
        session = _numbered(self.named.sessions, stored.session)
        voice = _numbered(self.named.voices, _voice(message))
        speaker = _numbered(self.named.speakers, message.speaker) if message.speaker else NONE
        if session == len(self.shapes):
            self.shapes.append(SessionShape())
        self._talk, shape = None, self.shapes[session]
        shape.messages += 1
        shape.voices[voice] += 1
        place = self._last if after is None else after
        first, passages = len(self), spans(text)
        for start, stop in passages:
            passage = text[start:stop]
            row = len(self)
            terms, parts = tokens.terms(indexed_text(message.speaker, passage)), tokens.parts(passage)
            corrects = message.role == "user" and may_correct(passage[:COMPARED])
            self.lexical.add(terms, parts=parts)
            if corrects:
                self.correcting.add(terms, parts=parts)
                self.correcting_rows.append(row)
            self.seqs.append(stored.seq)
            self.bounds.append([start, stop])
            self.sessions.append(session)
            self.speakers.append(speaker)
            self.voices.append(voice)
            self.alive.append(stored.alive)
            self.checked.append(False)
            self.embedded.append(False)
            self.tokenized.append(message.role == "assistant")  # for whom none are kept
            content = tokens.content_words(passage)
            shape.words += content
            self.words.append(content)
            self.questions.append(passage.rstrip().endswith("?"))
            self.corrections.append(corrects)
            self.times.append(tokens.tells_time(passage))
            self.days.append(message.time.toordinal())
            named = days_told(passage, message.time)[-1]
            self.told.append([named.start.toordinal(), named.end.toordinal()])
            self._leads.append(row == first)
            self._firsts.append(first)
            self._parts.append(len(passages))
            self._insert(row, place)
            place = row

    def _insert(self, row: int, before: int) -> None:
        after = self._first if before == NONE else int(self._after.rows[before])
        self._before.append(before)
        self._after.append(after)
        self._link(before, row)
        self._link(row, after)

    def _link(self, before: int, after: int) -> None:
        if before == NONE:
            self._first = after
        else:
            self._after.rows[before] = after
        if after == NONE:
            self._last = before
        else:
            self._before.rows[after] = before

    def remove(self, rows: Rows) -> int:
        """Empty the rows of one message. Returns the row before them in the log, `NONE` if none is."""
        first, last = int(rows[0]), int(rows[-1])
        before = int(self._before.rows[first])
        self._link(before, int(self._after.rows[last]))
        session, voice = int(self.sessions.rows[first]), int(self.voices.rows[first])
        self._talk, shape = None, self.shapes[session]
        shape.messages -= 1
        shape.voices -= Counter([voice])
        for row in rows.tolist():
            shape.words -= int(self.words.rows[row])
            self.lexical.remove(row)
            if self.corrections.rows[row]:
                self.correcting.remove(int(np.searchsorted(self.correcting_rows.rows, row)))
        self.removed += len(rows)
        self.seqs.rows[rows] = NONE
        self.words.rows[rows] = 0
        self.checked.rows[rows] = True  # there is nothing to look up
        for column in (self.alive, self.questions, self.corrections, self.times, self.embedded, self.tokenized):
            column.rows[rows] = False
        self._drop_names(session, voice, int(self.speakers.rows[first]))
        return before

    def _drop_names(self, session: int, voice: int, speaker: int) -> None:
        """Drop the names that no message has any more, so that no file holds them."""
        if not self.shapes[session].messages:
            _drop(self.named.sessions, session)
        if any(voice in shape.voices for shape in self.shapes):
            return
        _drop(self.named.voices, voice)
        held = self.seqs.rows != NONE
        if not (self.speakers.rows[held] == speaker).any():
            _drop(self.named.speakers, speaker)

    # -- files ---------------------------------------------------------------------------------------------------------

    def order(self) -> Rows:
        """The rows that hold something, in the order of the log."""
        rows = np.flatnonzero(self.seqs.rows != NONE)
        return rows[np.argsort(self.seqs.rows[rows], kind="stable")]

    def dump(self, order: Rows) -> dict[str, NDArray[Any]]:
        """These rows of the table as arrays."""
        shapes = [(one.messages, one.words, list(one.voices.items())) for one in self.shapes]
        names = json.dumps({**vars(self.named), "shapes": shapes})
        columns = {name: column.rows[order] for name, column in self._columns().items()}
        flagged = np.searchsorted(self.correcting_rows.rows, order[self.corrections.rows[order]])
        words = {_LEXICAL: self.lexical.dump(order), _CORRECTING: self.correcting.dump(flagged)}
        lexical = {f"{prefix}{name}": values for prefix, arrays in words.items() for name, values in arrays.items()}
        return {**lexical, **columns, "names": np.frombuffer(names.encode(), np.uint8)}

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Fill an empty table from `dump`'s arrays."""
        for prefix, index in ((_LEXICAL, self.lexical), (_CORRECTING, self.correcting)):
            index.load({name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)})
        for name, column in self._columns().items():
            column.extend(arrays[name])
        self.correcting_rows.extend(np.flatnonzero(self.corrections.rows))
        rows = np.arange(len(self))
        self._before.extend(rows - 1)
        self._after.extend(np.where(rows == len(rows) - 1, NONE, rows + 1))
        self._first, self._last = (0, len(rows) - 1) if len(rows) else (NONE, NONE)
        _, starts, numbers = np.unique(self.seqs.rows, return_index=True, return_counts=True)  # in the order of the log
        self._leads.extend(self.bounds.rows[:, 0] == 0)
        self._firsts.extend(np.repeat(starts, numbers))
        self._parts.extend(np.repeat(numbers, numbers))
        names = json.loads(bytes(arrays["names"].tobytes()))
        self.shapes = [SessionShape(messages, words, Counter(dict(voices))) for messages, words, voices in names.pop("shapes")]
        self.named = Named(**names)
        self._talk = None


def _voice(message: Message) -> str:
    return f"{message.role} {message.speaker or ''}"


def _numbered(names: dict[str, int], name: str) -> int:
    """The number of a name, a free one if it has none yet."""
    return names.setdefault(name, max(names.values(), default=NONE) + 1) if name not in names else names[name]


def _drop(names: dict[str, int], number: int) -> None:
    for name in [one for one, known in names.items() if known == number]:
        del names[name]
