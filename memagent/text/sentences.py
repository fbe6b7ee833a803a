"""Where sentences end, once for all: sentences of a text, and long texts in passages that an embedder reads whole."""

from __future__ import annotations

import re

from memagent.text.tokens import content_words

PASSAGE_CHARACTERS = 900
"""Longest passage; about 200 English words, under the 256 tokens that MiniLM reads."""
LINE_CHARACTERS = 320
"""Longest sentence as a line of its own; longer ones are cut at a blank."""
JOINED_CHARACTERS = 160
"""Up to which a sentence that leans on the one before ("He is three.") is kept in one line with it."""

_ENDS = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=[^a-z\s])|(?<=[。！？])|\n+")
_CUTS = (re.compile(r"\n\s*\n"), re.compile(r"[.!?][\"')\]]*\s+|\n"), re.compile(r"\s+"))
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|no|vs|approx|[A-Z])\.$", re.IGNORECASE)
_LEANING = re.compile(r"^(?:he|she|it|they|his|her|hers|its|their|that|this|these|those|there)\b", re.IGNORECASE)


def sentences(text: str, *, join: bool = True, limit: int = LINE_CHARACTERS) -> list[str]:
    """Sentences of a text, each on one line and of at most `limit` characters.

    With `join`, a short one that leans on the sentence before it, or has hardly a word of content, stays in one line with it.
    """
    found: list[str] = []
    for piece in _ENDS.split(text):
        sentence = " ".join(piece.split())
        if not sentence:
            continue
        before = found[-1] if found else ""
        leans = join and (_LEANING.match(sentence) is not None or content_words(sentence) < 2)
        follows = before and not before.endswith("?") and not sentence.endswith("?")
        if follows and (_ABBREVIATION.search(before) or (leans and len(before) + len(sentence) < JOINED_CHARACTERS)):
            found[-1] = f"{before} {sentence}"
        else:
            found.append(sentence)
    return [sentence[start:stop].strip() for sentence in found for start, stop in spans(sentence, limit=limit)]


def spans(text: str, *, limit: int = PASSAGE_CHARACTERS) -> list[tuple[int, int]]:
    """Start and end of each passage, cut at paragraph, sentence or word ends; together they cover the text.

    A text up to `limit` characters is one passage.
    """
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
    for pattern in _CUTS:
        ends = [match.end() for match in pattern.finditer(text, half, latest)]
        if ends:
            return ends[-1]
    return latest


def indexed_text(speaker: str | None, text: str) -> str:
    """What is searched for a passage: its text with the speaker's name, so that both can match a question."""
    return f"{speaker}: {text}" if speaker else text
