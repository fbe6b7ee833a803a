"""What a message tells, found without a model: its statements, how much each is worth remembering, and whether it asks.

A sentence states something when it has content words and is neither a question nor a pleasantry. It is worth more when a
person tells about himself in it, when it holds a name, a number or a time, and when it says something lasting. The rules are
for English (`english.toml`); in other languages every sentence with content is a statement of little importance.
"""

from __future__ import annotations

import re

from memagent.text import wordlists
from memagent.text.sentences import is_question
from memagent.text.tokens import content_words, tells_time, terms, words

TIERS = ("heading", "bold", "body", "small")
"""Tiers of a line, the most important first."""
_LEAST = (("heading", 0.75), ("bold", 0.55), ("body", 0.25), ("small", 0.0))
"""Least importance of each tier."""

_GREETING = re.compile(rf"^\W*{wordlists.alternatives('greetings')}\b[^.\d]{{0,40}}\W*$", re.IGNORECASE)
_INTRODUCING = re.compile(r"\b(?:i['’]?m|i am|this is|my name|call me)\b|\bit['’]?s \w+\W*$", re.IGNORECASE)
_OPENER = r"^\W*(?:(?:please|so|and|but|well|ok|hey)\W+)?"
_ASKING = re.compile(rf"{_OPENER}{wordlists.alternatives('asking')}\b", re.IGNORECASE)
_AUXILIARY = r"(?:do|does|did|is|are|was|were|am|can|could|will|would|should|shall|may|might|have|has|had)(?:n['’]?t)?"
_TELLING = re.compile(  # "When I was young ...", "Will is my brother", "What a day"
    rf"{_OPENER}(?:(?:when|where|why)\s(?!{_AUXILIARY}\b)|how\s(?:i|we|he|she|they|my|our)\b|will\s{_AUXILIARY}\b|what\san?\s)",
    re.IGNORECASE,
)
_ONESELF = re.compile(r"\b(?:i|i'm|i've|i'd|i'll|my|mine|me|we|we're|we've|our|ours|us)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<=[\w,;:] )(?!I\b)[A-Z][\w'-]+|^(?!I\b)[A-Z]\w+ (?:and [A-Z]\w+|is|was|has|lives|works|loves)\b")
_LASTING = re.compile(
    r"\b(?:called|named|name is|born|birthday|allerg\w+|favou?rite|prefer\w*|love|hate|can't stand|always|never|every|"
    r"live[sd]?|moved|work(?:s|ed|ing)? (?:as|at|for|in)|married|engaged|wife|husband|partner|daughter|son|mother|"
    r"father|sister|brother|vegetarian|vegan|diabetic|decided|promised?|plan(?:s|ning)? to|going to|"
    r"my (?:favou?rite )?\w+(?: \w+)?(?:'s name)? (?:is|are)|i (?:now |have )?(?:live|moved|work|study)\w*|"
    r"i(?: am|'m) \d+ years old)\b",
    re.IGNORECASE,
)
_CORE = re.compile(
    r"\b(?:my name is|i(?:'m| am) called|allerg\w+|diabetic|vegetarian|vegan|birthday|born|i (?:now )?live|"
    r"i work|i(?:'m| am) an? )",
    re.IGNORECASE,
)


def asks(text: str) -> bool:
    """Whether a message asks for something, rather than telling."""
    opens = _ASKING.match(text) is not None and _TELLING.match(text) is None
    return is_question(text) or opens


def tells(sentence: str, *, alone: bool = False) -> bool:
    """Whether a sentence tells something: no question, greeting, thanks or mere aside.

    `alone` is a message of one short sentence: it may answer a question.
    """
    if is_question(sentence) or not content_words(sentence):
        return False
    if _GREETING.match(sentence):
        return _INTRODUCING.search(sentence) is not None
    return alone or content_words(sentence) >= 4 or importance(sentence) > 0  # else a few words about nothing by name


def importance(sentence: str, similarity: float = 0.0) -> float:
    """How much a sentence is worth remembering, 0 to 1; `similarity` to what else the user says, 0 to 1."""
    score = 0.3 * bool(_ONESELF.search(sentence))
    score += 0.15 * bool(_NAME.search(sentence))
    score += 0.15 * (any(char.isdigit() for char in sentence) or tells_time(sentence))
    score += 0.2 * bool(_LASTING.search(sentence)) + 0.15 * bool(_CORE.search(sentence))
    return min(1.0, score + 0.15 * similarity)


def tier_of(importance: float) -> str:
    """The tier of a line of this importance."""
    return next(tier for tier, least in _LEAST if importance >= least)


def key_terms(text: str) -> frozenset[str]:
    """Stemmed words of a text that carry content."""
    kept: set[str] = set()
    for word in words(text):
        if not word.isascii() or word.isdigit() or (len(word) > 2 and content_words(word)):
            kept.update(terms(word))
    return frozenset(kept)
