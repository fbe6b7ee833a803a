"""Long texts in passages that an embedder reads whole, cut at paragraph, sentence or word ends."""

from __future__ import annotations

import re

PASSAGE_CHARACTERS = 900
"""Longest passage; about 200 English words, under the 256 tokens that MiniLM reads."""

_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"[.!?][\"')\]]*\s+|\n"), re.compile(r"\s+"))


def spans(text: str, *, limit: int = PASSAGE_CHARACTERS) -> list[tuple[int, int]]:
    """Start and end of each passage; together they cover the text. A text up to `limit` is one passage."""
    found: list[tuple[int, int]] = []
    start = 0
    while len(text) - start > limit:
        stop = _cut(text, start, start + limit)
        found.append((start, stop))
        start = stop
    return [*found, (start, len(text))]


def _cut(text: str, start: int, latest: int) -> int:
    """The last good place to cut in the second half of text[start:latest]."""
    half = start + (latest - start) // 2
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(text, half, latest)]
        if ends:
            return ends[-1]
    return latest


def indexed_text(speaker: str | None, text: str) -> str:
    """What is searched for a passage: its text with the speaker's name, so that both can match a question."""
    return f"{speaker}: {text}" if speaker else text
