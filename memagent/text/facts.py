"""What a message tells, as facts that can be remembered one by one, without a model; and its asides, which tell nothing. Facts
and asides together are the whole message.

A message falls into blocks. A list, a table, lines of `key: value` and code are each one fact, with the line above that
introduces them. Prose falls into sentences, and these into clauses that can stand alone; a sentence that leans on the one
before ("He is three.") stays with it. Only questions, requests and pleasantries that name nobody and no number are no facts.
The rules for these are English; in other languages everything but a question is a fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from memagent.text import wordlists
from memagent.text.amendments import amends
from memagent.text.sentences import GREEK, is_question, sentences
from memagent.text.tokens import content_words

FACT_CHARACTERS = 600
"""Of one fact; longer sentences and blocks are cut into several."""
_JOINED_CHARACTERS = 160
_LIST_WORDS = 3
"""Lines of so few words, one below the other, are a list without bullets."""

_FENCE = re.compile(r"^\s*(?:```|~~~)")
_ITEM = re.compile(
    r"^\s*(?:[-*•+–]|\d{1,3}[.)]|\[[ xX]\])\s+\S|^.*\|.*\||^(?: {4}|\t)\s*\S|"
    rf"^\s*\S.*(?:{{|(?<![{GREEK}]);)$|^\s*}}"
)
_PAIR = re.compile(r"^\s*[^\s:.!?][^:.!?]{0,40}[:=]\s*\S")
_SENTENCE_END = re.compile(r"[.!?。！？…][\"')\]]*\s*$")

_GREETING = re.compile(
    rf"^\W*(?:{wordlists.alternatives('greetings')}\b[\s,!.:]*(?:there|everyone|all|again)?\W*)+", re.IGNORECASE
)
_REPLY = re.compile(rf"^\W*{wordlists.alternatives('replies')}\b", re.IGNORECASE)
_SUBJECTS = r"(?:i|you|he|she|it|we|they|there|this|that|the|my|your|our|his|her|their)"
_AUXILIARY = r"(?:do|does|did|is|are|was|were|am|can|could|will|would|should|shall|may|might|have|has|had)"
_ASKED = (
    r"(?:what|which|whose|who|whom)(?: \w+)?|(?:when|where|why|how)(?: (?:much|many|old|long|far|often|big|tall|soon|well))?"
)
_QUESTION = re.compile(
    rf"^\W*(?:(?:so|and|but|well|ok) )?(?:(?:{_ASKED})(?:'s|(?<!\bi) {_AUXILIARY})|{_AUXILIARY} {_SUBJECTS})\b", re.IGNORECASE
)
_REQUEST = re.compile(
    r"^\W*(?:please )?(?:tell|give|show|describe|explain|write|summari[sz]e|name|list|make|find|translate|suggest|recommend) "
    r"(?:me|us|a|an|some|how|what|why)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\d|(?<=[\w,;:] )(?!I\b)[^\W\d_a-z][\w'-]+")
_OWN = re.compile(r"\b(?:i|i'm|i've|i'd|i'll|my|mine|we|we're|we've|our|ours)\b", re.IGNORECASE)
_LEANING = re.compile(r"^(?:he|she|it|they|his|her|its|their)\b", re.IGNORECASE)
_CLAUSES = re.compile(r",? (?:and|but) (?=(?:i|i'm|i've|my|we|our) )|; ", re.IGNORECASE)
_QUOTE = re.compile(r"[\"“”„«»]")
_DEPENDENT = re.compile(r"^\W*(because|if|when|while|although|since|after|before|unless|once)\b", re.IGNORECASE)


def facts(text: str) -> list[str]:
    """What a message says, each fact once, in its order and of at most `FACT_CHARACTERS`."""
    return list(dict.fromkeys(part for part, told in _parts(text) if told))


def asides(text: str) -> list[str]:
    """The rest of a message: its questions, requests, pleasantries and marks, in its order."""
    return [part for part, told in _parts(text) if not told]


@lru_cache(maxsize=16_384)
def _parts(text: str) -> tuple[tuple[str, bool], ...]:
    """All of a message in parts, and whether each is a fact."""
    return tuple(part for block, prose in _blocks(text) for part in (_of_prose(block) if prose else _cut(block)))


def _blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a message, and whether each is prose."""
    lines = text.splitlines()
    start = 0
    for begins, stop in _structured(lines):
        first = begins - (begins > start and _introduces(lines[begins - 1]))
        if first > start:
            yield "\n".join(lines[start:first]), True
        yield "\n".join(lines[first:stop]), False
        start = stop
    yield "\n".join(lines[start:]), True


def _structured(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Where lists, tables, pairs and code begin and end."""
    place = 0
    while place < len(lines):
        stop = place + 1
        if _FENCE.match(lines[place]):
            while stop < len(lines) and not _FENCE.match(lines[stop]):
                stop += 1
            stop = min(stop + 1, len(lines))
        elif _ITEM.match(lines[place]):
            while stop < len(lines) and _ITEM.match(lines[stop]):
                stop += 1
        else:
            like = next((like for like in (_is_pair, _is_entry) if like(lines[place])), None)
            while like is not None and stop < len(lines) and like(lines[stop]):
                stop += 1
            if stop == place + 1:
                place = stop
                continue
        yield place, stop
        place = stop


def _is_pair(line: str) -> bool:
    return _PAIR.match(line) is not None


def _is_entry(line: str) -> bool:
    return 0 < len(line.split()) <= _LIST_WORDS and not _SENTENCE_END.search(line)


def _introduces(line: str) -> bool:
    return bool(line.strip()) and (line.rstrip().endswith(":") or not _SENTENCE_END.search(line))


def _cut(block: str) -> Iterator[tuple[str, bool]]:
    """A block as a fact, or if it is long as several, between its lines if that is possible."""
    found = [""]
    for line in block.strip().splitlines():
        for start in range(0, max(len(line), 1), FACT_CHARACTERS):
            part = line[start : start + FACT_CHARACTERS]
            if found[-1] and len(found[-1]) + len(part) >= FACT_CHARACTERS:
                found.append("")
            found[-1] = f"{found[-1]}\n{part}" if found[-1] else part
    return ((one, re.search(r"\w", one) is not None) for one in found if one)


def _of_prose(text: str) -> Iterator[tuple[str, bool]]:
    before = ""
    for sentence in sentences(text, join=False, limit=FACT_CHARACTERS):
        amending = before and not is_question(sentence) and amends(sentence, before)
        if not (amending or _tells(sentence)):
            yield sentence, False
            continue
        if before and (amending or _LEANING.match(sentence)) and len(before) + len(sentence) < _JOINED_CHARACTERS:
            before = f"{before} {sentence}"
            continue
        if before:
            yield before, True
        *whole, before = _clauses(sentence)
        yield from ((one, True) for one in whole)
    if before:
        yield before, True


def _tells(sentence: str) -> bool:
    """Whether a sentence is neither a question, nor a request, nor a mere pleasantry."""
    if is_question(sentence) or _QUESTION.match(sentence) or _REQUEST.match(sentence):
        return False
    greeting = _GREETING.match(sentence)
    rest = sentence[greeting.end() :] if greeting else sentence
    if _OWN.search(rest) or _NAMED.search(f". {rest}" if greeting else rest):
        return True
    least = 3 if greeting else 2 if _REPLY.match(sentence) else 1
    return content_words(rest) >= least and re.search(r"\w", rest) is not None


def _clauses(sentence: str) -> list[str]:
    parts = [part.strip() for part in _CLAUSES.split(sentence)]
    if (
        len(parts) == 1
        or _QUOTE.search(sentence)
        or _DEPENDENT.match(sentence)
        or not all(len(part.split()) > 2 and _tells(part) for part in parts)
    ):
        return [sentence]
    whole = [parts[0], *(part[:1].upper() + part[1:] for part in parts[1:])]
    return [part if part.endswith((".", "!")) else f"{part}." for part in whole]
