"""Answers out of what was told, word for word: for a model too small to be trusted with them.

A question about the user is answered by quoting the statements that hold what is asked, the newest first, each with its day;
where they come near only, by saying that it is not known and quoting the nearest; else by "I don't know yet". Nothing is
generated, so nothing can be invented. A question about the world is none of memory's: it goes to the model, without memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from memagent.memory.view import day
from memagent.retrieval.embedders.base import Embedder
from memagent.text.questions import Language, ParsedQuestion, current_part, fold
from memagent.text.sentences import sentences
from memagent.text.statements import asks, tells
from memagent.text.tokens import terms
from memagent.types import Message, Recall, Source

UNKNOWN = "I don't know yet."
NOTED = "Noted."
"""The answer to what is told and not asked."""
_QUOTE = "You said"
_UNSURE = "I don't know for sure. The closest that you said"
_QUOTED = 3
"""Statements quoted at most."""
_NEAR = 0.8
"""Share of the best score that a statement needs to be quoted beside it."""
_HELD, _SURE, _UNREAL = 1.5, 0.3, 0.5
"""Weights beside the cosine: of the share of the question's words held, of an answer, and against wishes and conditions."""
_LEAST_COSINE = 0.35
"""Of a statement that shares no word with the question and is quoted as the nearest."""
_RARE = 3
"""Statements that may hold a word by which a newer one is seen to change an older one."""
_LEGIBLE = 0.6
"""Share of the terms of a statement that an eye must have read."""
_IDENTIFIER = re.compile(r"[^\W_]+(?:[-_/][^\W_]+)+|[^\W\d_]+ \d+")
_DEFINITE = re.compile(r"\bthe (?!(?:\w+ ){0,2}\w+ of (?!the|my|our|your|this|that)\w|\w+est\b|most\b|first\b)", re.IGNORECASE)


@dataclass(frozen=True)
class UserStatement:
    """One statement of the user, in the order in which they were made."""

    text: str
    time: datetime | None


@dataclass(frozen=True)
class _Candidate:
    place: int
    sentence: str
    share: float
    sure: bool
    score: float


def told_and_asked(text: str) -> tuple[list[str], str]:
    """A message's statements, and its questions in one; greetings are neither."""
    every = sentences(text, join=False)
    asked = [one for one in every if asks(one)]
    return [one for one in every if one not in asked and tells(one, alone=True)], " ".join(asked)


def generated(turns: Sequence[Message]) -> list[Message]:
    """The turns whose answers a model generated: it would imitate the others."""
    kept = []
    for asked, answered in pairwise(turns):
        spoken = answered.text in (UNKNOWN, NOTED) or answered.text.startswith((_QUOTE, _UNSURE))
        if (asked.role, answered.role) == ("user", "assistant") and not spoken:
            kept += [asked, answered]
    return kept


def told_in(recall: Recall, *, read: str | None) -> list[UserStatement]:
    """What a view shows of the user's own statements, the oldest first.

    `read` is what an eye has read of a picture: a statement counts as shown when most of its terms are there, and is then
    quoted as it was said. None for a text, or for a page that is taken as read.
    """
    seen = None if read is None else frozenset(terms(read))
    shown = [one for one in recall.sources if one.role == "user" and one.text.strip()]
    if seen is not None:
        shown = [one for one in shown if _share_of(terms(one.text), seen) >= _LEGIBLE]
    shown.sort(key=lambda one: one.seq)
    return [UserStatement(_as_said(one), one.time) for one in shown]


def _as_said(source: Source) -> str:
    """What the user said, without the name and the day that a page writes beside it."""
    text = source.text.removeprefix(f"{source.speaker}: ") if source.speaker else source.text
    return text if source.time is None else text.removesuffix(f"({day(source.time)})").rstrip()


def _share_of(wanted: Sequence[str], seen: frozenset[str]) -> float:
    return sum(one in seen for one in wanted) / max(len(wanted), 1)


def grounded_answer(
    question: str, told: Sequence[UserStatement], *, now: datetime | None = None, embedder: Embedder | None = None
) -> str | None:
    """The answer to a question out of `told`, oldest first; None when the question is not about the user or what was told.

    `now` is when it is asked: what was said on that day was said "today".
    Without an `embedder` statements are ranked by their words alone.
    """
    asked = ParsedQuestion.of(question)
    found = _candidates(asked, told, embedder)
    best = max(found, key=lambda one: one.score, default=None)
    if best is None or not (any(one.sure for one in found) or _about_the_user(asked, told)):
        return UNKNOWN if _about_the_user(asked, told) else None
    chosen = [one for one in sorted(found, key=lambda one: -one.score)[:_QUOTED] if one.score >= _NEAR * best.score]
    sure = [one for one in chosen if one.sure]
    if not sure and not best.share and best.score < _LEAST_COSINE:
        return UNKNOWN
    shown = sorted({one.place for one in sure or chosen} | _changes(asked, told, sure or chosen), reverse=True)[:_QUOTED]
    return f"{_QUOTE if sure else _UNSURE}{_quotes(asked, [told[place] for place in shown], now)}"


def _candidates(asked: ParsedQuestion, told: Sequence[UserStatement], embedder: Embedder | None) -> list[_Candidate]:
    found = [(place, sentence) for place, one in enumerate(told) for sentence in _read_alone(one.text, asked.language)]
    cosines = np.zeros(len(found), np.float32)
    if embedder is not None and found:
        cosines = embedder.embed([sentence for _, sentence in found]) @ embedder.embed([asked.text], role="query")[0]
    made = []
    for (place, sentence), cosine in zip(found, cosines, strict=True):
        share, sure = asked.share(sentence), asked.answered_by(sentence)
        score = _HELD * share + float(cosine) + _SURE * sure - _UNREAL * asked.unreal(sentence)
        made.append(_Candidate(place, sentence, share, sure, score))
    return made


def _read_alone(text: str, language: Language) -> list[str]:
    """The sentences of a statement, one that leans on the sentence before ("He is three.") also together with that."""
    every = [one for one in sentences(text, join=False) if not asks(one)]
    leaning = [
        f"{before} {one}"
        for before, one in pairwise(every)
        if language.pattern("amends").match(one)
        or language.pattern("leaning").match(one)
        or not language.words("other").isdisjoint(one.lower().split()[:1])
    ]
    return every + leaning


def _changes(asked: ParsedQuestion, told: Sequence[UserStatement], chosen: Sequence[_Candidate]) -> set[int]:
    """The place of the statement that changes the chosen ones: newer, it tells of a change of something that they name."""
    language = asked.language
    contents = [set(language.content(one.text)) - language.words("generic") - language.words("changed") for one in told]
    named = {word for one in chosen for word in language.content(one.sentence) if not word.isdigit()}
    rare = {word for word in named if sum(word in one for one in contents) <= _RARE}
    latest = {one.place for one in chosen}
    found = []
    for place in range(max(latest) + 1, len(told)):
        text, shared = told[place].text, contents[place] & rare
        amends = language.pattern("amends").match(text)
        ended = language.pattern("ended").search(text)
        tells = amends or ended or language.has("changed", text)
        asked_for = sum(language.supports(word, text) for word in asked.anchors)
        goes_on = place - 1 in latest and amends and language.pattern("goes_on").match(text, amends.end())
        if (asked.yes_no and asked_for) or (
            ((shared and tells) or goes_on) and asked.form_fits(text, beside=not (amends or ended))
        ):
            found.append((asked_for, place))
    return {max(found)[1]} if found else set()


def _quotes(asked: ParsedQuestion, shown: Sequence[UserStatement], now: datetime | None) -> str:
    """The statements, newest first; what was said again in the same words is quoted once."""
    quotes: dict[str, str] = {}
    before = None if now is None else day(now)
    for one in shown:
        plain = " ".join(one.text.split())
        part = plain if asked.yes_no else current_part(one.text, asked)
        quote = f"“{'' if plain.startswith(part) else '… '}{part}”"
        if quote in quotes:
            continue
        said = before if one.time is None else day(one.time)
        when = "" if one.time is None or (quotes and said == before) else " today" if said == before else f" on {said}"
        quotes[quote] = f"{when}: {quote}"
        before = said
    return " Before that".join(quotes.values())


def _about_the_user(asked: ParsedQuestion, told: Sequence[UserStatement]) -> bool:
    """Whether a question is about the user's own world: himself, someone he told of, or "the" thing that only he can mean."""
    if asked.about_self or asked.language.name != "en":
        return True
    kin = asked.language.words("kin")
    anybody = {
        name for name in kin if asked.requested or re.search(rf"\b(?:an?|any|every|some) (?:\w+ )?{name}\b", asked.text, re.I)
    }
    people = [name for name in asked.people if name not in anybody]
    known = [name for name in people if any(asked.language.supports(name, one.text) for one in told)]
    definite = _DEFINITE.search(asked.text) and not asked.requested
    return bool(known) or bool(definite) or _names_what_was_told(asked, told)


def _all_told(asked: ParsedQuestion, told: str) -> bool:
    """Whether a question in small letters, in which no name can be seen, asks for what was told, or for something of that."""
    words = set(re.findall(r"\w+", told))
    owned = [one for one in asked.anchors[:-1] if one.endswith("s") and one[:-1] in words]
    return bool(asked.anchors) and (bool(owned) or all(asked.language.supports(one, told) for one in asked.anchors))


def _names_what_was_told(asked: ParsedQuestion, told: Sequence[UserStatement]) -> bool:
    """Whether a question has a name that only the user can have given: of what is "called" so, of "bed 9" beside "bed 6"."""
    every = "\n".join(one.text for one in told).casefold()
    given = asked.language.pattern("naming").findall(every)
    if asked.text == asked.text.lower() and _all_told(asked, every):
        return True
    kinds = [re.sub(r"\d+$", r"\\d", re.escape(one.casefold())) for one in _IDENTIFIER.findall(asked.text)]
    return not set(map(fold, given)).isdisjoint(asked.anchors) or any(re.search(rf"\b{kind}", every) for kind in kinds)
