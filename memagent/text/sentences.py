"""Where sentences end, once for all: sentences of a text, its pieces where some of it is no prose, and long texts in passages
that an embedder reads whole. Sentences, pieces and passages lose nothing of the text but blanks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from memagent.text.amendments import amends
from memagent.text.tokens import content_words

PASSAGE_CHARACTERS = 900
"""Longest passage; about 200 English words, under the 256 tokens that MiniLM reads."""
LINE_CHARACTERS = 320
"""Longest sentence as a line of its own; longer ones are cut at a blank."""
JOINED_CHARACTERS = 160
"""Up to which a sentence that leans on the one before ("He is three.") is kept in one line with it."""

GREEK = "\u0370-\u03ff\u1f00-\u1fff"
"""Letters after which a semicolon asks."""
_ASKED = re.compile(rf"[^\w.。…]*?(?:[?？؟⁇⁈⁉፧\u037e]|;(?=[{GREEK}]))")
"""The end of a question, read backwards."""
_CLOSING = "[\"')\\]»”’」』）]*"
_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_ENDS = re.compile(
    rf"(?<=[.!?…؟۔\u037e]){_CLOSING}\s+(?=[^a-z\s])|(?<=[{GREEK}];)\s+|[。！？｡।॥။።។፧։།]{_CLOSING}\s*"
    rf"|[{_BREAKS}]+"
)
_PROSE_END = re.compile(rf"[.!?…。！？｡؟۔।॥။።។፧։།]{_CLOSING}$")
_LISTED = re.compile(r"\s*(?:[-*+•·–—▪◦]|\(?\w{1,3}[.)])\s|\s*\||\s*(?:`{3}|~{3})|\s*[\w .-]{1,40}[:=：]\s*\S*|\s{4}|\t")
SHORT_LINE = 60
"""Characters up to which a line of a list, a table or code is taken together with the lines around it."""
_WORD = re.compile(r"\w")
_PARAGRAPHS = re.compile(r"\n[^\S\n]*\n\s*")
_CUTS = (re.compile(r"\n\s*\n"), re.compile(r"[.!?][\"')\]]*\s+|\n"), re.compile(r"\s+"))
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|no|vs|approx|[A-Z])\.$", re.IGNORECASE)
_DAY = re.compile(r"\b\d{1,2}\.$")
_MONTH = re.compile(r"(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember)\b")
"""Goes on after a day: "am 12. Oktober"."""
_LEANING = re.compile(r"^(?:he|she|it|they|his|her|hers|its|their|that|this|these|those|there)\b", re.IGNORECASE)


def sentences(text: str, *, join: bool = True, limit: int = LINE_CHARACTERS) -> list[str]:
    """Sentences of a text, each on one line and of at most `limit` characters.

    With `join`, a short one that leans on the sentence before it or amends it, or has hardly a word of content, stays in one
    line with it.
    """
    found: list[str] = []
    for piece in _split(text):
        sentence = " ".join(piece.split())
        if not sentence:
            continue
        before = found[-1] if found else ""
        leans = join and (_LEANING.match(sentence) is not None or content_words(sentence) < 2 or amends(sentence, before))
        follows = before and not is_question(before) and not is_question(sentence)
        cut = _ABBREVIATION.search(before) or (_DAY.search(before) and _MONTH.match(sentence))
        if follows and (cut or (leans and len(before) + len(sentence) < JOINED_CHARACTERS)):
            found[-1] = f"{before} {sentence}"
        else:
            found.append(sentence)
    return [sentence[start:stop].strip() for sentence in found for start, stop in spans(sentence, limit=limit)]


def is_question(text: str) -> bool:
    """Whether a text ends with a question mark; closing and exclamation marks and emoji may follow."""
    return _ASKED.match(text[::-1]) is not None


def _split(text: str) -> list[str]:
    return [text[start:stop] for start, stop in sentence_spans(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence; together they cover the text.

    Marks and emoji alone are no sentence: they belong to the one before, at the start of a text or a line to the one after.
    """
    found: list[tuple[int, int]] = []
    start = before = 0
    at_line = False  # whether a line begins at `start`
    ends = [(match.end(), not set(match[0]).isdisjoint(_BREAKS)) for match in _ENDS.finditer(text)]
    for stop, breaks in (*ends, (len(text), True)):
        if _WORD.search(text, before, stop):
            found.append((start, stop))
            start, at_line = stop, breaks
        elif found and (breaks or not at_line):
            found[-1] = (found[-1][0], stop)
            start, at_line = stop, breaks
        before = stop
    return found or [(0, len(text))]


def pieces(text: str, *, limit: int = LINE_CHARACTERS) -> list[str]:
    """All of a text in order, in pieces of at most `limit` characters: sentences of prose one by one; lists, tables, code and
    other runs of short lines together, with their line breaks.
    """
    found: list[str] = []
    for paragraph in _PARAGRAPHS.split(text):
        lines = [line.rstrip() for line in paragraph.splitlines() if line.strip()]
        prose = sum(_LISTED.match(line) is None and (len(line) > SHORT_LINE or _ends(line)) for line in lines)
        if len(lines) < 2 or 2 * prose > len(lines):
            found += sentences(paragraph, limit=limit)
        else:
            found += _grouped(lines, limit)
    return found


def _ends(line: str) -> bool:
    return _PROSE_END.search(line) is not None


def _grouped(lines: Sequence[str], limit: int) -> list[str]:
    """Lines together while they are short, each long one by itself."""
    found: list[str] = []
    room = 0
    for line in lines:
        cut = [line[start:stop].rstrip() for start, stop in spans(line, limit=limit)]
        if len(line) <= min(room, SHORT_LINE):
            found[-1] += f"\n{line}"
        else:
            found += [part for part in cut if part.strip()]
            room = limit if len(line) <= SHORT_LINE else 0
        room -= len(line) + 1
    return found


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
