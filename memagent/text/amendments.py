"""Sentences that take back or amend what was said just before: "No wait, it's 37", "Forget what I said ...", "Six, with Jory".

Such a sentence opens with a word that takes back, or is nothing but another value of a kind that the sentence before has. The
words are in `amendments.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from memagent.text.tokens import UNSPACED, content_words, whole_words

_DATA: Mapping[str, Mapping[str, str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_STOP = r"[\s,.!:;…–—،、，。！-]"
_OPENINGS = "|".join(_DATA["opening"].values())
_OPENING = re.compile(
    rf"\W*(?:{whole_words(_OPENINGS)}{_STOP}*"
    rf"|{whole_words(_DATA['refusal']['any'])}(?:\s*(?=[,.!:;…–—،、，。！-]){_STOP}+|\s+(?={whole_words(_OPENINGS)})))+",
    re.IGNORECASE,
)
_OWN_WORDS = re.compile(whole_words("|".join(_DATA["own_words"].values())), re.IGNORECASE)
_SELF = re.compile(whole_words("i|we|i'm|ich|wir|je|j|nous|on|yo|io|eu|ik|wij|ja|я|мы|أنا|私|僕|我|나는|저는"), re.IGNORECASE)
_BARE = {
    kind: re.compile(
        rf"\W*(?:{whole_words(_DATA['before_value']['any'])}\s*)*{whole_words(values)}"
        rf"(?:(?:\s\w+){{0,2}}?|(?-i:[{UNSPACED}]){{0,5}})(?:\s*[,!?;:(。，、！]|\s*\.?\s*$|\s+{whole_words(_DATA['after_value']['any'])})",
        re.IGNORECASE,
    )
    for kind, values in _DATA["kinds"].items()
}
"""A sentence that begins with a value of a kind and says little else."""
_KINDS = {kind: re.compile(whole_words(values), re.IGNORECASE) for kind, values in _DATA["kinds"].items()}
_NAME = "name"
_FEW = 2
"""Words of content up to which what follows an opening names nothing of its own."""
REACH = 4
"""Sentences back in which what an opening takes back may stand."""


@lru_cache(maxsize=16_384)
def opening(sentence: str) -> int:
    """Where the opening of a sentence ends that takes something back; 0 where it has none."""
    found = _OPENING.match(sentence)
    return 0 if found is None else found.end()


def is_bare(sentence: str) -> bool:
    """Whether a sentence is hardly more than a value ("Six, with little Jory")."""
    return any(pattern.match(sentence) for pattern in _BARE.values())


def amends(sentence: str, before: str) -> bool:
    """Whether a sentence is about what the one right before it says, and tells otherwise."""
    return amended(sentence, [before]) is not None


def amended(sentence: str, before: Sequence[str]) -> int | None:
    """Place of the sentence that another amends without naming what it is about, among those that one voice said before it.

    It is the last one that has a value of the same kind, within reach; else the last one if `sentence` takes something back.
    """
    if not before or not (kinds := _amending(sentence)):
        return None
    reach = REACH if opening(sentence) else 1
    for place in range(len(before) - 1, max(-1, len(before) - 1 - reach), -1):
        if any(_KINDS[kind].search(before[place]) for kind in kinds if kind):
            return place
    return len(before) - 1 if "" in kinds else None


@lru_cache(maxsize=16_384)
def _amending(sentence: str) -> frozenset[str]:
    """The kinds of value that a sentence may put in the place of another, "" for any; none if it stands for itself."""
    start = opening(sentence)
    rest = sentence[start:]
    bare = {kind for kind, pattern in _BARE.items() if pattern.match(rest)}
    if not start or not re.search(r"\w", rest):
        return frozenset(bare)
    if content_words(rest) <= _FEW and _SELF.search(rest) is None:
        bare |= {kind for kind, pattern in _KINDS.items() if pattern.search(rest)}
        return frozenset({"", *bare})
    return frozenset({"", *bare} if bare else bare)


@lru_cache(maxsize=16_384)
def values(sentence: str) -> Mapping[str, frozenset[str]]:
    """The values that a sentence names, by their kind, folded."""
    found: dict[str, frozenset[str]] = {}
    told = [one for word in sentence.split() for one in _values_of(word)]
    for kind, named in (*told, (_NAME, _folded(_NAME, sentence))):
        if named:
            found[kind] = found.get(kind, frozenset()) | named
    return found


@lru_cache(maxsize=50_000)
def _values_of(word: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """The values that a word has, by their kind; not names, which are told by the word before."""
    return tuple((kind, named) for kind in _KINDS if kind != _NAME and (named := _folded(kind, word)))


def _folded(kind: str, text: str) -> frozenset[str]:
    return frozenset(map(str.casefold, _KINDS[kind].findall(text)))


def without_own_words(text: str) -> str:
    """A text without mentions of what its writer said himself ("forget what I said"): these quote nobody."""
    return _OWN_WORDS.sub(" ", text)
