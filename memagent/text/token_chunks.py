"""Cutting long texts by tokens: chunks for the drafting loop, the head of a question, a text without its middle.

With a tokenizer, cuts fall between token ids, as in MemOCR and MemAgent (5,000 tokens a chunk, no overlap). A reader that
only counts is cut at blanks: each piece is the longest that it counts as no more than asked, and nothing is lost between
two pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

T = TypeVar("T")
LONGEST_TOKEN = 40
"""Characters; hardly a token of any tokenizer is longer."""


class Tokenizer(Protocol):
    """What a model's own tokenizer does; special tokens are not added."""

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        ...


class Cutter(Protocol):
    """Cuts texts to numbers of tokens."""

    def chunks(self, text: str, size: int) -> list[str]:
        """The text in pieces of `size` tokens, the last one shorter; none for a text without tokens."""
        ...

    def head(self, text: str, most: int) -> str:
        """The first `most` tokens."""
        ...

    def without_middle(self, text: str, most: int) -> str:
        """The first floor(most / 2) and the last ceil(most / 2) tokens of a text that is longer than `most`."""
        ...


def slices(ids: Sequence[T], size: int) -> list[Sequence[T]]:
    """Consecutive runs of `size`, the last one shorter."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def without_middle(ids: Sequence[T], most: int) -> list[T]:
    """The first floor(most / 2) and the last ceil(most / 2) of `ids` when there are more than `most`."""
    if len(ids) <= most:
        return list(ids)
    first = most // 2
    return [*ids[:first], *ids[len(ids) - (most - first) :]]


class TokenCutter:
    """Cuts between token ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def chunks(self, text: str, size: int) -> list[str]:
        """See `Cutter`."""
        return [self._tokenizer.decode(list(part)) for part in slices(self._tokenizer.encode(text), size)]

    def head(self, text: str, most: int) -> str:
        """See `Cutter`."""
        ids = self._tokenizer.encode(text)
        return text if len(ids) <= most else self._tokenizer.decode(ids[:most])

    def without_middle(self, text: str, most: int) -> str:
        """See `Cutter`."""
        ids = self._tokenizer.encode(text)
        return text if len(ids) <= most else self._tokenizer.decode(without_middle(ids, most))


class CountCutter:
    """Cuts where a count says so, at a blank when there is one in the last half of a piece."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count

    def chunks(self, text: str, size: int) -> list[str]:
        """See `Cutter`. Joined, the pieces are the text."""
        ends = [0]
        while text[ends[-1] :].strip():
            ends.append(self._end(text, ends[-1], size))
        if len(ends) > 1:
            ends[-1] = len(text)
        return [text[start:stop] for start, stop in pairwise(ends)]

    def head(self, text: str, most: int) -> str:
        """See `Cutter`."""
        return text[: self._end(text, 0, most)]

    def without_middle(self, text: str, most: int) -> str:
        """See `Cutter`."""
        if self._count(text) <= most:
            return text
        first = most // 2
        start = len(text) - _largest(lambda length: self._count(text[len(text) - length :]) <= most - first, len(text))
        return text[: self._end(text, 0, first)] + text[start:]

    def _end(self, text: str, start: int, tokens: int) -> int:
        """Where the longest piece from `start` of at most `tokens` tokens ends; one character at least."""
        left = len(text) - start
        length = _largest(lambda length: self._count(text[start : start + length]) <= tokens, left)
        if tokens < 1 or length == left:
            return start + length
        length = max(1, length)
        for blank in range(start + length, start + length // 2, -1):
            if text[blank : blank + 1].isspace():
                return blank
        return start + length


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, found from small numbers up: counting a long text is slow."""
    high = min(1024, most)
    while high < most and fits(high):
        high = min(2 * high, most)
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def cut_to_tokens(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """The longest start of a text that costs at most `tokens`, to the character."""
    low, high = 0, min(len(text), tokens * LONGEST_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= tokens else (low, middle - 1)
    while count(text[:low]) > tokens:  # a tokenizer may join what follows, so that a longer text costs less
        low -= 1
    return text[:low]
