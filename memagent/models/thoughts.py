"""Thoughts of a model, kept apart from its answer.

Models that think aloud put it between tags before they answer, unless their server takes it out. The tags come in pieces
like everything else, so `ThoughtSplitter` holds text back as long as it may be the start of one. Only at the start of an
answer are tags thoughts; later ones are words of the answer. Some chat templates write the opening tag into the prompt, so that
only the closing one comes, on a line of its own: then the thoughts have been shown as they came, and `end` tells them apart.
"""

from __future__ import annotations

import re

_TAGS = {
    open_: re.compile(re.escape(close), re.IGNORECASE)
    for open_, close in (
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("[think]", "[/think]"),
        ("◁think▷", "◁/think▷"),
    )
}
_LONGEST = 12
"""Characters of the longest closing tag."""
_ANY_CLOSE = "|".join(close.pattern for close in _TAGS.values())
_CLOSED = re.compile(rf"^[^\S\n]*(?:{_ANY_CLOSE})[^\S\n]*$", re.MULTILINE | re.IGNORECASE)
_OPENED = re.compile("|".join(map(re.escape, _TAGS)), re.IGNORECASE)


class ThoughtSplitter:
    """One answer of a model, as it comes."""

    def __init__(self) -> None:
        self.thoughts = ""
        self._held = ""
        """What may be the start of a tag, or blank space before the answer."""
        self._close: re.Pattern[str] | None = None
        """What ends the thoughts; None outside of them."""
        self._answering = False

    def feed(self, piece: str) -> str:
        """What of a piece, and of what was held back, belongs to the answer."""
        if self._answering:
            return piece
        self._held += piece
        while not self._answering:
            if not (self._end_thought() if self._close else self._begin()):
                return ""
        text, self._held = self._held, ""
        return text

    def _begin(self) -> bool:
        """Whether it is clear if a thought or the answer begins."""
        start = self._held.lstrip()
        for tag, close in _TAGS.items():
            if start[: len(tag)].lower() == tag:
                self._held, self._close = start[len(tag) :], close
                return True
        if any(tag.startswith(start.lower()) for tag in _TAGS):
            return False
        self._answering = True
        if self.thoughts:
            self._held = start
        return True

    def _end_thought(self) -> bool:
        """Whether the thought ends in what has come; all that is surely thought is taken."""
        assert self._close is not None
        closing = self._close.search(self._held)
        sure = max(0, len(self._held) - _LONGEST) if closing is None else closing.start()
        self.thoughts += self._held[:sure]
        self._held = self._held[sure if closing is None else closing.end() :]
        if closing is None:
            return False
        self.thoughts += "\n"
        self._close = None
        return True

    def end(self) -> str:
        """What was held back and belongs to the answer, when nothing more comes."""
        text, self._held = self._held, ""
        if self._close is not None:
            self.thoughts += text
            return ""
        return "" if self.thoughts and not text.strip() else text


def without_opening(text: str) -> tuple[str, str]:
    """Thoughts and answer of a text in which only a closing tag stands, on a line of its own; else no thoughts and the text."""
    closing = _CLOSED.search(text)
    if closing is None or _OPENED.search(text, 0, closing.start()):
        return "", text
    return text[: closing.start()].strip(), text[closing.end() :].lstrip()
