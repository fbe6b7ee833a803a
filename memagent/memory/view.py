"""Lines of a text view, and packing them into a budget to the token.

A line is data, never an instruction or a tag: line breaks are folded, control characters are taken out, and the angle
bracket of anything that looks like the delimiter of recalled memory is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from memagent.db.log import Stored
from memagent.errors import InputError
from memagent.types import Message, Recall, Source
from memagent_renderers.budget import Budget

_DELIMITER = re.compile(r"<(?=\s*/?\s*(?:memory|system|instructions?)\b)", re.IGNORECASE)
# C0 and C1 controls, soft hyphen, zero-width and direction marks, tags; the zero-width joiner stays: it makes emoji.
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_WITHIN_WORDS = re.compile("[\u00ad\u2060\ufeff]")
"""Soft hyphens and joiners, which part no words."""
_ELLIPSIS = " …"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_FEW = 12
"""Characters of a message under which a shortened line is not worth its date."""
_LONGEST_TOKEN = 40
"""Characters; hardly a token of any tokenizer is longer."""


@dataclass(frozen=True)
class ViewLine:
    """One line of a view."""

    text: str
    source: Source
    order: tuple[int, ...]
    """Where the line belongs among the others: place in the log, place in the message, unless the memory has another order."""
    shortened: bool = False


def clean(text: str) -> str:
    """Text as it may stand in a view: one line, no control or direction characters, no delimiter of recalled memory."""
    if not text.isprintable():
        text = _UNSHOWN.sub(" ", _WITHIN_WORDS.sub("", text))
    text = " ".join(text.split())
    return _DELIMITER.sub("‹", text) if "<" in text else text


def day(time: datetime) -> str:
    """A date as views show it, such as "8 May 2023": half the tokens of ISO 8601, and the same in every locale."""
    return f"{time.day} {_MONTHS[time.month - 1]} {time.year}"


def pictures_named(message: Message) -> str:
    """What stands in a view for the pictures of a message, which no view draws, before its text."""
    return "[picture] " * len(message.images)


def line_of(stored: Stored, *, start: int = 0, stop: int | None = None, score: float | None = None) -> ViewLine:
    """A message of the log, or a passage of it, as a line."""
    return message_line(stored.message, stored.seq, start=start, stop=stop, score=score)


def message_line(
    message: Message, seq: int, *, start: int = 0, stop: int | None = None, score: float | None = None
) -> ViewLine:
    """A stored message at its place `seq` in the log, or a passage of it, as a line: date, who, what."""
    if message.time is None or message.id is None:
        raise InputError("a message of the log has an id and a time; make a `ViewLine` of any other")
    said = clean(f"{'' if start else pictures_named(message)}{message.text[start:stop]}")
    who = clean(message.speaker or message.role)
    text = f"[{day(message.time)}] {who}: {said}"
    source = Source(
        id=message.id,
        messages=(message.id,),
        score=score,
        text=said,
        role=message.role,
        speaker=message.speaker,
        time=message.time,
        seq=seq,
    )
    return ViewLine(text, source, (seq, start))


def joined(lines: Sequence[ViewLine]) -> str:
    """The lines as a view, in their order."""
    return "\n".join(line.text for line in sorted(lines, key=lambda line: line.order))


def shown_whole(lines: Iterable[ViewLine], parts: Mapping[tuple[int, ...], tuple[int, int]]) -> set[str]:
    """Ids of the sources that lines show whole, each by one line or by several together.

    `parts` says of a line, by its order, how many characters it has of its source and how many that one has; all others stand
    for the whole of theirs.
    """
    left: dict[str, int] = {}
    for line in lines:
        shown, size = parts.get(line.order, (0, 0))
        left[line.source.id] = left.get(line.source.id, size) - shown + line.shortened * (size + 1)
    return {id for id, characters in left.items() if characters <= 0}


def text_recall(lines: Sequence[ViewLine], budget: Budget, *, kind: str, dropped: int = 0) -> Recall:
    """The view that these lines make, in their order; `lines` come from `pack`, so they are within the budget.

    `dropped` is how many live items are not among them.
    """
    text = joined(lines)
    return Recall(
        text=text,
        cost=budget.reader.count(text),
        budget=budget.tokens,
        kind=kind,
        exact=budget.reader.exact,
        sources=tuple(line.source for line in sorted(lines, key=lambda line: line.order)),
        dropped=dropped,
    )


def pack(ranked: Iterable[ViewLine], budget: Budget) -> list[ViewLine]:
    """The first lines that fit, as many as the budget holds, and the next one shortened into what is left.

    The joint view is counted whole at the end: with a reader who counts exactly the bound is exact. Empty only when not
    even one shortened line fits.
    """
    count = budget.reader.count
    chosen: list[ViewLine] = []
    next_line: ViewLine | None = None
    spent = 0
    for line in ranked:
        spent += count(line.text) + 1
        if spent > budget.tokens + 1:  # the last line has no line break after it
            next_line = line
            break
        chosen.append(line)
    spent = count(joined(chosen))
    while chosen and spent > budget.tokens:
        next_line = chosen.pop()
        spent = count(joined(chosen))
    left = budget.tokens - (spent + 1 if chosen else 0)
    short = None if next_line is None else _shortened(chosen, next_line, left, budget)
    return chosen if short is None else [*chosen, short]


def _shortened(chosen: list[ViewLine], line: ViewLine, left: int, budget: Budget) -> ViewLine | None:
    """The line cut to the tokens that are left of the budget; None if that is less than a few words of it."""
    count = budget.reader.count
    head = len(line.text) - len(line.source.text)
    least = head + _FEW if chosen else 1
    low, high = 0, min(len(line.text), _LONGEST_TOKEN * max(left, 0))
    while low < high:
        middle = (low + high + 1) // 2
        if count(line.text[:middle].rstrip() + _ELLIPSIS) <= left:
            low = middle
        else:
            high = middle - 1
    while low >= least:
        cut = line.text[:low].rstrip()
        shown = line.source.model_copy(update={"text": cut[head:]})
        found = replace(line, text=cut + _ELLIPSIS, source=shown, shortened=True)
        if count(joined([*chosen, found])) <= budget.tokens:
            return found
        low -= 1
    return None
