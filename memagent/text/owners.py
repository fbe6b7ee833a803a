"""Whose a thing is that a sentence names: the speaker's own, or another's ("Stellan's mother", "le frère de Luc", "her dog").

A question about "my mother" is not answered by what was told of another's, and one about Luc not by what was told of his
brother. The patterns of each language are in `questions.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_OWN_BEFORE = 2
"""Words between "my" and what is mine at most: "my late dear wife"."""
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*(?:'s\b)?")


class Words(Protocol):
    """What is asked of a language: a `memagent.text.questions.Language`."""

    spaced: bool

    def words(self, name: str) -> frozenset[str]:
        """A list."""

    def pattern(self, name: str) -> re.Pattern[str]:
        """A pattern."""

    def has(self, name: str, word: str) -> bool:
        """Whether a word is in a list."""


class Mention(NamedTuple):
    """A word of a sentence, and whose it is."""

    word: str
    own: bool
    """Whether it stands behind "my"; in Japanese and Chinese somebody's kin is the speaker's where nobody else is named."""
    owner: str | None
    """The word for another to whom it belongs."""


def mentions(sentence: str, language: Words) -> Iterator[Mention]:
    """The words of a sentence, each with its owner; of a script without spaces the words for people."""
    plain = sentence.replace("’", "'")
    for word, start, stop in _placed(plain, language):
        before, after = plain[:start], plain[stop:]
        near = _WORD.findall(re.split(r"[,.;:!?]\s|'s\b", before)[-1])[-_OWN_BEFORE - 1 :]
        own = any(language.has("own", one) for one in near) or language.pattern("own_before").search(before) is not None
        found = language.pattern("owner_before").search(before) or language.pattern("owner_after").match(after)
        owner = None if own or found is None else next(filter(None, found.groups()), None)
        yield Mention(word, own or not (language.spaced or owner), owner)


def _placed(plain: str, language: Words) -> Iterator[tuple[str, int, int]]:
    if language.spaced:
        for match in _WORD.finditer(plain):
            word = match[0].removesuffix("'s")
            yield word, match.start(), match.start() + len(word)
        return
    for word in language.words("kin"):
        for match in re.finditer(re.escape(word), plain):
            yield word, match.start(), match.end()
