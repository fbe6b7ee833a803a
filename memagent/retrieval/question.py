"""What a question tells about the passage that is sought: its words, whom it names, when, and who is to have said it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

from memagent.text import tokens
from memagent.text.questions import language_of

_WORD = re.compile(r"(?P<word>\w+)(?:['’]s)?")
"""A word, and an English possessive."""


def named_in_order(question: str, names: Iterable[str]) -> list[str]:
    """The names of participants, of which a word stands in the question, in the order in which they stand there.

    Of a name of several words, a function word names nobody ("the" of "The Boss") unless it has a capital within the question
    ("Will" of "Will Reed").
    """
    parts = {name: tokens.words(name) for name in names}
    if not parts:
        return []
    places: dict[str, int] = {}
    large: dict[str, int] = {}
    for match in _WORD.finditer(question):
        for word in tokens.words(match["word"]):
            places.setdefault(word, match.start())
            if match[0][0].isupper() and question[: match.start()].strip():
                large.setdefault(word, match.start())
    found = {}
    for name, words in parts.items():
        telling = _telling(name)
        stand = [(places if word in telling else large).get(word, -1) for word in words]
        found[name] = min((place for place in stand if place >= 0), default=-1)
    return sorted((name for name, place in found.items() if place >= 0), key=lambda name: found[name])


@lru_cache(maxsize=4096)
def _telling(name: str) -> frozenset[str]:
    """The words of a name that are no function words; all of them where nothing else is left."""
    every = tokens.words(name)
    function = language_of(name).words("function")
    return frozenset(word for word in every if tokens.content_words(word) and word not in function) or every


def without_names(question: str, names: Iterable[str]) -> str:
    """The question without the words of these names; the question itself where hardly anything would be left."""
    words = frozenset().union(*map(_telling, names))
    if words.isdisjoint(tokens.words(question)):
        return question
    left = _WORD.sub(lambda match: match[0] if words.isdisjoint(tokens.words(match["word"])) else "", question)
    left = " ".join(left.split())
    return left if tokens.query_terms(left) else question


def asks_assistant(question: str) -> bool:
    """Whether a question asks what the assistant said before ("what did you suggest?", "your list"), not for advice now."""
    small = question.lower()
    return any(pattern.search(small) for pattern in _assistant_patterns())


@cache
def _assistant_patterns() -> list[re.Pattern[str]]:
    """A pattern for each language of `question.toml`, for questions in lower case."""
    languages = tomllib.loads(Path(__file__).with_name("question.toml").read_text("utf-8"))
    patterns = []
    for words in languages.values():
        forms = [
            form.replace("SAID", f"(?:{words['said']})").replace("THING", f"(?:{words['thing']})") for form in words["forms"]
        ]
        patterns.append(re.compile("|".join(forms)))
    return patterns
