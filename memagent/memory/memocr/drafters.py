"""Drafters write the rich text of a MemOCR memory: with a model, or by picking sentences.

`ModelDrafter` drives the paper's loop (`memagent.memory.memocr.loops`): each draft is one Markdown document that replaces the
one before and rests on every message that went into it. `SalienceDrafter` needs no model: it adds lines, each resting on the
one message that it was taken from, with a tier by importance, or by the question when there is one.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from memagent.db.log import Stored
from memagent.errors import ConfigError
from memagent.memory.derived import NEW
from memagent.memory.memocr import loops
from memagent.memory.view import day, pictures_named
from memagent.models.base import ChatModel
from memagent.retrieval.embedders.base import Embedder
from memagent.text.sentences import JOINED_CHARACTERS, LINE_CHARACTERS, is_question, pieces
from memagent.text.statements import importance, key_terms, tells, tier_of
from memagent.text.token_chunks import CountCutter, Cutter, TokenCutter, Tokenizer
from memagent.types import Usage

ASSISTANT_SHARE = 0.5
"""What an assistant says counts half: it mostly repeats, and what it made up must not outweigh the user's own words."""
ASSISTANT_LINES = 3
LINES = 64
"""Most lines drafted of one message; a document of many pages is better drafted for a question."""
QUESTION_LINES = 48
"""Most lines drafted for one question."""
COMPARED = 32
"""Known lines, the newest, that new ones are compared with as to what the user talks about."""
ADDED = 0.6
"""Least importance of what the user told the memory itself to keep."""


@dataclass(frozen=True)
class DraftLine:
    """One line of a draft, or a whole document of a drafter that overwrites."""

    text: str
    tier: str
    """heading, bold, body or small; "document" for Markdown with tiers of its own."""
    sources: tuple[int, ...]
    """Places in the log of the messages that it rests on."""
    importance: float = 0.0
    item: str | None = None
    """The known line that it restates, or `NEW` with a number: a line that is made here, and may be restated here."""


@dataclass(frozen=True)
class DraftResult:
    """What drafting led to."""

    lines: tuple[DraftLine, ...]
    unusable: int = 0
    """Model outputs that could not be used; the memory before them stood."""
    usage: Usage = field(default_factory=Usage)


class Drafter(ABC):
    """Turns messages into the rich text of a memory."""

    overwrites: ClassVar[bool]
    """True: a draft is one document that replaces the one before. False: a draft adds lines."""

    @abstractmethod
    def draft(
        self,
        messages: Sequence[Stored],
        *,
        known: Mapping[str, str],
        question: str | None = None,
        after: Callable[[], None] | None = None,
    ) -> DraftResult:
        """Draft `messages`, given the `known` lines (or the document) by item, for the question `question` or for any.

        Writes nothing. `after` is called after each model reply. Raises what the model raises.
        """

    def batches(self, messages: Sequence[Stored]) -> list[Sequence[Stored]]:
        """Messages, one at least, in runs that are drafted at once."""
        return [messages]


class ModelDrafter(Drafter):
    """The drafting loop of MemOCR (arXiv 2601.21468) with a chat model.

    `tokenizer` cuts chunks between token ids; without it they are cut where the model's reader counts `chunk_tokens`.
    """

    overwrites = True

    def __init__(
        self,
        model: ChatModel,
        *,
        chunk_tokens: int = loops.CHUNK_TOKENS,
        max_tokens: int = loops.MEMORY_TOKENS,
        temperature: float = 0.0,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        if chunk_tokens < 1:
            raise ConfigError(f"chunk_tokens is 1 or more, not {chunk_tokens}")
        self.model = model
        self.chunk_tokens = chunk_tokens
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.cutter: Cutter = CountCutter(model.reader.count) if tokenizer is None else TokenCutter(tokenizer)

    def draft(
        self,
        messages: Sequence[Stored],
        *,
        known: Mapping[str, str],
        question: str | None = None,
        after: Callable[[], None] | None = None,
    ) -> DraftResult:
        """One document; no line when no output could be used."""
        chunks = self.cutter.chunks("\n".join(map(_told, messages)), self.chunk_tokens)
        problem = loops.ANY_PROBLEM if question is None else self.cutter.head(question, loops.QUESTION_TOKENS)
        loop = loops.draft(
            chunks,
            problem=problem,
            memory="\n\n".join(known.values()),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            usable=grounded,
        )
        done = loops.drive(loop, self.model, after=after)
        taken = done.turns > len(done.unusable)
        sources = tuple(one.seq for one in messages)
        lines = (DraftLine(done.memory, "document", sources),) if taken else ()
        return DraftResult(lines, len(done.unusable), done.usage)

    def batches(self, messages: Sequence[Stored]) -> list[Sequence[Stored]]:
        """Messages in runs of at most one chunk; a longer message is a run of its own."""
        found: list[list[Stored]] = []
        room = 0
        for one in messages:
            cost = self.model.reader.count(_told(one)) + 1
            if cost > room:
                found.append([])
                room = self.chunk_tokens
            found[-1].append(one)
            room -= cost
        return list(found)


def _told(stored: Stored) -> str:
    message = stored.message
    date = f"[{day(message.time)}] " if message.time is not None else ""
    return f"{date}{message.speaker or message.role}: {pictures_named(message)}{message.text.strip()}"


def grounded(draft: str, section: str, memory: str) -> bool:
    """Whether a draft speaks of what it was made from: one in ten of its words, and one at least, stand there.

    Tells a memory, also a free or translated one (names and numbers stay), from noise.
    """
    said = key_terms(draft)
    shared = said & (key_terms(section) | key_terms(memory))
    return 10 * len(shared) >= max(10, len(said))


class SalienceDrafter(Drafter):
    """Sentences picked by importance, or by their likeness to a question. `embedder` is asked for when it is needed."""

    overwrites = False

    def __init__(self, embedder: Callable[[], Embedder | None] = lambda: None) -> None:
        self._embedder = embedder

    def draft(
        self,
        messages: Sequence[Stored],
        *,
        known: Mapping[str, str],
        question: str | None = None,
        after: Callable[[], None] | None = None,
    ) -> DraftResult:
        """New lines, and known ones that were said again."""
        if question is not None:
            return DraftResult(tuple(self._for_question(messages, known, question)))
        told = [(one, text) for one in messages for text in _told_by(one)]
        own = [text for one, text in told if one.message.role == "user"]
        around = [*list(known.values())[-COMPARED:], *own]
        likeness = similarities([text for _, text in told], around, self._embedder() if told else None)
        lines = [
            DraftLine(text, "", (one.seq,), _weighed(one, importance(text, like)))
            for (one, text), like in zip(told, likeness, strict=True)
        ]
        every = _with_rest(_best_of_each(lines, messages), messages)
        return DraftResult(tuple(_new(every, known, messages)))

    def _for_question(self, messages: Sequence[Stored], known: Mapping[str, str], question: str) -> list[DraftLine]:
        """The statements most like the question that are no lines yet."""
        wanted = key_terms(question)
        found = [(one.seq, text) for one in messages for text in _told_by(one, most=None) if wanted & key_terms(text)]
        found = sorted(found, key=lambda one: -len(wanted & key_terms(one[1])))[: 8 * QUESTION_LINES]
        likeness = similarities([text for _, text in found], [question], self._embedder() if found else None)
        lines = [DraftLine(text, "", (seq,), like) for (seq, text), like in zip(found, likeness, strict=True)]
        best = sorted(lines, key=lambda line: -line.importance)[:QUESTION_LINES]
        return _new(sorted(best, key=lambda line: line.sources), known, ())


def _told_by(stored: Stored, *, most: int | None = 4 * LINES) -> list[str]:
    """What a message tells; of a long one the pieces that look most important, at most `most`."""
    if stored.message.role == "system":
        return []
    every = dict.fromkeys(_pieces(stored))
    found = [text for text in every if tells(text, alone=len(every) == 1 and not _mute(stored))]
    if most is None or len(found) <= most:
        return found
    best = set(sorted(found, key=lambda text: -importance(text))[:most])
    return [text for text in found if text in best]


def _pieces(stored: Stored) -> list[str]:
    return pieces(f"{pictures_named(stored.message)}{stored.message.text}")


def _mute(stored: Stored) -> bool:
    """Whether an assistant or a tool speaks, rather than somebody."""
    return stored.message.role != "user" and stored.message.speaker is None


def _weighed(stored: Stored, score: float) -> float:
    if stored.origin == "added":
        return max(score, ADDED)
    return score * ASSISTANT_SHARE if _mute(stored) else score


def _best_of_each(lines: Sequence[DraftLine], messages: Sequence[Stored]) -> list[DraftLine]:
    """The most important lines of each message, in their order."""
    kept: list[DraftLine] = []
    for one in messages:
        own = [line for line in lines if line.sources == (one.seq,)] if len(messages) > 1 else list(lines)
        most = ASSISTANT_LINES if _mute(one) else LINES
        best = set(sorted(range(len(own)), key=lambda place: -own[place].importance)[:most])
        kept += [line for place, line in enumerate(own) if place in best]
    return kept


def _with_rest(lines: Sequence[DraftLine], messages: Sequence[Stored]) -> list[DraftLine]:
    """The lines of each message in its order, and small ones between them of all that they do not say."""
    by_message: dict[int, dict[str, DraftLine]] = {}
    for line in lines:
        by_message.setdefault(line.sources[0], {})[line.text] = line
    found: list[DraftLine] = []
    for one in messages:
        own, rest, said = by_message.get(one.seq, {}), "", set[str]()
        for piece in _pieces(one):
            if piece in said and len(piece) < LINE_CHARACTERS:
                continue
            said.add(piece)
            if piece in own:
                found.append(own[piece])
                rest = ""
                continue
            alike = is_question(rest) == is_question(piece)
            if rest and alike and len(rest) + len(piece) < JOINED_CHARACTERS:
                found.pop()
                rest += f"\n{piece}" if "\n" in rest + piece else f" {piece}"
            else:
                rest = piece
            found.append(DraftLine(rest, "", (one.seq,)))
    return found


def _new(lines: Sequence[DraftLine], known: Mapping[str, str], messages: Sequence[Stored]) -> list[DraftLine]:
    """Lines that say something new, and known lines that the user said again, which now rest on the newer message."""
    items = {_sameness(text): item for item, text in known.items()}
    users = {one.seq for one in messages if one.message.role == "user"}
    found: list[DraftLine] = []
    for line in lines:
        # A piece that was cut at its greatest length is a part of something longer and repeats nothing.
        same = _sameness(line.text) if len(line.text) < LINE_CHARACTERS else f"+{len(found)}"
        again = items.get(same)
        if again is not None and not users.intersection(line.sources):
            continue
        items.setdefault(same, f"{NEW}{len(found)}")
        found.append(DraftLine(line.text, tier_of(line.importance), line.sources, line.importance, items[same]))
    return found


def _sameness(text: str) -> str:
    """Equal for texts that say the same, case and the marks at their ends aside."""
    plain = unicodedata.normalize("NFC", text).casefold()
    return plain.strip(" \n\"'").rstrip(" \n.!…\"'") or plain


def similarities(texts: Sequence[str], others: Iterable[str], embedder: Embedder | None) -> list[float]:
    """How close each text is to `others` as a whole, 0 to 1: shared words, and the angle to their mean where one embeds.

    A text that is among `others` itself counts by what it shares with the rest.
    """
    known = list(dict.fromkeys(others))
    if not texts or not known:
        return [0.0] * len(texts)
    counts: dict[str, int] = {}
    for text in known:
        for term in key_terms(text):
            counts[term] = counts.get(term, 0) + 1
    among = set(known)
    shared = [_share(key_terms(text), counts, 1 if text in among else 0) for text in texts]
    if embedder is None:
        return shared
    rows = {text: row for row, text in enumerate(dict.fromkeys([*known, *texts]))}
    vectors = embedder.embed(list(rows))
    mean = vectors[: len(known)].mean(axis=0)
    own = vectors[[rows[text] for text in texts]]
    angles = np.clip(own @ (mean / max(float(np.linalg.norm(mean)), 1e-9)), 0.0, 1.0)
    return [(lexical + float(angle)) / 2 for lexical, angle in zip(shared, angles, strict=True)]


def _share(found: frozenset[str], counts: dict[str, int], own: int) -> float:
    """Share of a text's terms that stand in other texts too."""
    return sum(counts.get(term, 0) > own for term in found) / len(found) if found else 0.0
