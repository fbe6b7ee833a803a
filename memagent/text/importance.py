"""Sentences of a message, and how much each is worth remembering when nobody has asked anything yet.

A sentence counts for more when a person tells about himself in it, when it holds a name, a number or a time, when it states
something lasting, and when it is about what the user talks about elsewhere (by words, and by meaning where there is an
embedder). Questions and pleasantries are no statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from memagent.retrieval.embedders.base import Embedder
from memagent.text.passages import spans
from memagent.text.statements import attribute
from memagent.text.tokens import content_words, tells_time, terms, words

TIERS = ("heading", "bold", "body", "small")
"""Tiers of a line, the most important first."""
FLOORS = (("heading", 0.75), ("bold", 0.55), ("body", 0.25), ("small", 0.0))
"""Least importance of each tier."""
LONGEST = 320
"""Characters of the longest line of a draft; longer sentences are cut at a blank."""
JOINED = 160
"""Characters up to which a sentence that leans on the one before ("He is three.") is kept in one line with it."""

_ENDS = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=[^a-z\s])|(?<=[。！？])|\n+")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|no|vs|approx|[A-Z])\.$", re.IGNORECASE)
_LEANING = re.compile(r"^(?:he|she|it|they|his|her|hers|its|their|that|this|these|those|there)\b", re.IGNORECASE)
_PLEASANTRY = re.compile(
    r"^\W*(?:hi|hey|hello|thanks?|thank you|ok(?:ay)?|yes|no|sure|great|bye|good (?:morning|night|evening)|cool|nice|wow|"
    r"haha|lol|sounds good|you're welcome|nice to meet|congratulations)\b[^.\d]{0,40}\W*$",
    re.IGNORECASE,
)
_ONESELF = re.compile(r"\b(?:i|i'm|i've|i'd|i'll|my|mine|me|we|we're|we've|our|ours|us)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<=[\w,;:] )(?!I\b)[A-Z][\w'-]+|^(?!I\b)[A-Z]\w+ (?:and [A-Z]\w+|is|was|has|lives|works|loves)\b")
_LASTING = re.compile(
    r"\b(?:called|named|name is|born|birthday|allerg\w+|favou?rite|prefer\w*|love|hate|can't stand|always|never|every|"
    r"live[sd]?|moved|work(?:s|ed|ing)? (?:as|at|for|in)|married|engaged|wife|husband|partner|daughter|son|mother|"
    r"father|sister|brother|vegetarian|vegan|diabetic|decided|promised?|plan(?:s|ning)? to|going to)\b",
    re.IGNORECASE,
)

_CORE = re.compile(
    r"\b(?:my name is|i(?:'m| am) called|allerg\w+|diabetic|vegetarian|vegan|birthday|born|i (?:now )?live|"
    r"i work|i(?:'m| am) an? )",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """Sentences of a text, each on one line; one that leans on the sentence before it stays with it."""
    found: list[str] = []
    for piece in _ENDS.split(text):
        sentence = " ".join(piece.split())
        if not sentence:
            continue
        before = found[-1] if found else ""
        leans = _LEANING.match(sentence) is not None or content_words(sentence) < 2
        follows = before and not before.endswith("?") and not sentence.endswith("?")
        if follows and (_ABBREVIATION.search(before) or (leans and len(before) + len(sentence) < JOINED)):
            found[-1] = f"{before} {sentence}"
        else:
            found.append(sentence)
    return [sentence[start:stop].strip() for sentence in found for start, stop in spans(sentence, limit=LONGEST)]


def statements(text: str, *, answers: bool = True) -> list[str]:
    """The sentences of a message that tell something; questions, greetings, thanks and mere asides left out.

    With `answers`, a message of one short sentence is kept when it is no pleasantry: it may answer a question.
    """
    every = sentences(text)
    found = [one for one in every if _tells(one)]
    return found if answers and len(every) == 1 else [one for one in found if not _aside(one)]


def _tells(sentence: str) -> bool:
    return not sentence.endswith("?") and content_words(sentence) > 0 and not _PLEASANTRY.match(sentence)


def _aside(sentence: str) -> bool:
    """A few words that say nothing of anybody or anything by name or number."""
    return content_words(sentence) < 4 and importance(sentence) == 0


def importance(sentence: str, similarity: float = 0.0) -> float:
    """How much a sentence is worth remembering, 0 to 1; `similarity` to what else the user says, 0 to 1."""
    score = 0.3 * bool(_ONESELF.search(sentence))
    score += 0.15 * bool(_NAME.search(sentence))
    score += 0.15 * (any(char.isdigit() for char in sentence) or tells_time(sentence))
    score += 0.2 * bool(_LASTING.search(sentence) or attribute(sentence)) + 0.15 * bool(_CORE.search(sentence))
    return min(1.0, score + 0.15 * similarity)


def key_terms(text: str) -> frozenset[str]:
    """Stemmed words of a text that carry content."""
    kept: set[str] = set()
    for word in words(text):
        if not word.isascii() or word.isdigit() or (len(word) > 2 and content_words(word)):
            kept.update(terms(word))
    return frozenset(kept)


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


def tier_of(importance: float) -> str:
    """The tier of a line of this importance."""
    return next(tier for tier, least in FLOORS if importance >= least)
