"""Lines that break between words at the edge of a terminal, also while the text is still coming."""

from __future__ import annotations

import os
import re
import sys

_UNSPACED = r"\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"\n|[^\S\n]+|[{_UNSPACED}]|[^\s{_UNSPACED}]+")
"""A line end, blank space, a sign of a script without spaces, or a word."""
_SIGN = re.compile(rf"[{_UNSPACED}]")


class Wrapper:
    """Text that comes in pieces, for a terminal of `width` columns. A word is held back until it is known to be whole."""

    def __init__(self, width: int) -> None:
        self._width = max(width, 1)
        self._held = ""
        self._column = 0
        self._space = ""
        self._within = False
        """Whether a word has begun that is too long to be held back."""

    def feed(self, text: str) -> str:
        """What can be printed of a piece, and of what was held back."""
        tokens = _TOKEN.findall(self._held + text)
        self._held = tokens.pop() if tokens and not tokens[-1].isspace() and _size(tokens[-1]) <= self._width else ""
        return "".join(map(self._place, tokens))

    def end(self) -> str:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, ""
        return self._place(held) + self._space if held else self._space

    def _place(self, token: str) -> str:
        if token == "\n":
            self._within = False
            self._column, space, self._space = 0, self._space, ""
            return space + token
        if token.isspace():
            self._space += token
            return ""
        space, self._space = self._space, ""
        size, within = _size(token), self._within and not space
        self._within = not _SIGN.fullmatch(token)
        if self._column and not within and self._column + _size(space) + size > self._width:
            self._column, space = 0, "\n"
        else:
            self._column += _size(space)
        self._column += size
        if self._column > self._width:  # longer than a line: the terminal breaks it
            self._column = (self._column - 1) % self._width + 1
        return space + token


def wrapped(text: str, width: int) -> str:
    """`text` with lines of at most `width` columns, where words allow."""
    wrapper = Wrapper(width)
    return wrapper.feed(text) + wrapper.end()


def columns(stream: str) -> int:
    """Columns of the terminal at "stdout" or "stderr"; 80 where it does not say."""
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size(getattr(sys, stream).fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80


def _size(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    size: int = wcswidth(text)
    return size if size >= 0 else len(text)
