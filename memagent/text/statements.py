"""Facts without a model: the sentences of a message that tell something worth keeping.

A sentence is kept when somebody states something in it: it has content words, and speaks of oneself, or holds a name or a
number. Questions, greetings and thanks are not. `attribute` names what a sentence is about ("my dog called", "live"),
so that a new value of the same thing can take the place of the old one.
"""

from __future__ import annotations

import re

from memagent.text.passages import spans
from memagent.text.tokens import content_words

LONGEST = 600
"""Characters of one fact; longer sentences are cut."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_PLEASANTRY = re.compile(
    r"^\W*(hi|hey|hello|thanks?|thank you|ok(ay)?|yes|no|sure|great|bye|good (morning|night|evening))\b[^,.]*$", re.I
)
_IS = re.compile(r"\bi(?:'m| am) (?:an? \w|(?:vegan|vegetarian|\d+)\b)", re.IGNORECASE)
_TELLS = re.compile(
    r"\b(i|i'm|i've|my|mine|we|our|me|called|named|lives?|likes?|loves?|hates?|prefers?|works?|born|allergic)\b|\d|\b[A-Z]\w+\b",
    re.IGNORECASE,
)
_ATTRIBUTES = (
    re.compile(r"\bmy (?P<what>(?:favou?rite )?\w+(?: \w+)?)(?:'s name)? (?:is|are) (?P<verb>called|named)?\b", re.I),
    re.compile(r"\bi (?:now |have )?(?P<what>live|moved|work|study)\w*\b(?: (?:in|to|at|as)\b)?", re.I),
    re.compile(r"\bi(?: am|'m) (?P<what>\d+)(?= years old)", re.I),
)
_SAME = {"moved": "live"}


def facts(text: str, *, limit: int = 200) -> list[str]:
    """Sentences of a message that state something, at most `limit`, in their order."""
    sentences = (" ".join(sentence.split()) for sentence in _SENTENCE.split(text))
    found = dict.fromkeys(one[start:stop] for one in sentences for start, stop in spans(one, limit=LONGEST))
    return [one for one in found if _worth_keeping(one)][:limit]


def _worth_keeping(sentence: str) -> bool:
    if not sentence or sentence.endswith("?") or _PLEASANTRY.match(sentence):
        return False
    if _IS.search(sentence):
        return True
    return content_words(sentence) >= 2 and _TELLS.search(sentence) is not None


def attribute(sentence: str) -> str | None:
    """What a sentence gives a value for; None where no pattern knows."""
    for pattern in _ATTRIBUTES:
        match = pattern.search(sentence)
        if match:
            what = match["what"].lower()
            if what.isdigit():
                return "age"
            named = " called" if "verb" in pattern.groupindex and match["verb"] else ""
            return _SAME.get(what, what) + named
    return None
