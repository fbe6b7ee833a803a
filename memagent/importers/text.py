"""Plain text: a message a paragraph, all said by the user."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from memagent.errors import InputError
from memagent.importers.base import Batch, batches, numbered_lines, session_name
from memagent.types import Message

MAX_CHARS = 8_000
"""Characters of a paragraph or section above which it becomes several messages, cut between words."""
_BINARY = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f]")
"""Signs of programs and archives; not those of terminals and printers."""


def read(path: Path) -> Iterator[Batch]:
    """The paragraphs of a file. Raises `InputError`."""
    yield from as_messages(path, _paragraphs(path))


def as_messages(path: Path, texts: Iterable[str]) -> Iterator[Batch]:
    """Texts of a file as messages of the user, long ones in pieces."""
    session = session_name(path)
    yield from batches((session, Message(role="user", content=piece)) for text in texts for piece in _pieces(text))


def _paragraphs(path: Path) -> Iterator[str]:
    """Runs of lines between empty ones."""
    paragraph: list[str] = []
    for number, line in numbered_lines(path):
        if _BINARY.search(line):
            raise InputError(f"{path.name}, line {number} holds signs that no text has; is it a text?")
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph = []
    if paragraph:
        yield "\n".join(paragraph)


def _pieces(text: str) -> Iterator[str]:
    """A text, cut between words into pieces of at most `MAX_CHARS`; a longer word is cut within."""
    while len(text) > MAX_CHARS:
        cut = max(text.rfind(sign, MAX_CHARS // 2, MAX_CHARS) for sign in ("\n", " ")) + 1 or MAX_CHARS
        yield text[:cut].rstrip()
        text = text[cut:].lstrip()
    if text:
        yield text
