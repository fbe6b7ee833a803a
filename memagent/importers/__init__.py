"""Reading conversations and texts that were made elsewhere, as batches of messages ready for `Memory.add`.

Four formats: plain text (a message a paragraph), Markdown (a message a section), JSONL (a message a line: chat logs
and our own exports) and LoCoMo. Reading one file twice gives the same messages with the same ids, so that an import
that was cut short is simply done again: what is stored already is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path

from memagent.errors import InputError
from memagent.importers.base import HINT, Batch, numbered_lines

__all__ = ["FORMATS", "Batch", "detect", "read"]

_READERS = ("text", "markdown", "jsonl", "locomo")
FORMATS = ("auto", *_READERS)
_SUFFIXES = {".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_OTHERS = (".csv", ".tsv", ".html", ".htm", ".xml", ".eml", ".mbox", ".rtf", ".pdf", ".docx", ".odt", ".zip", ".gz", ".sqlite")
_LOOKED_AT = 200
"""Lines at the start of a file by which it is judged."""
_SAID = re.compile(r"\[?\d{1,4}([./-])\d{1,2}\1\d{1,4},?\s+\d{1,2}[:.]\d{2}.{0,12}?(?:\]|\s-)\s[^:]{1,80}: ")
"""A line of a chat: "[28.10.25, 14:03:11] Ada: hi", "10/28/25, 2:03 PM - Ada: hi"."""


def read(path: str | Path, *, format: str = "auto", sample: str | None = None) -> Iterator[Batch]:
    """The messages of a file. `sample` names the one LoCoMo conversation wanted; each is a user of its own.

    Raises `InputError` naming the file, and the line where there is one.
    """
    file = Path(path)
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
    kind = detect(file) if format == "auto" else format
    if sample is not None and kind != "locomo":
        raise InputError(f"{file.name}: a sample can be picked from LoCoMo files only, this is read as {kind}")
    reader = import_module(f"memagent.importers.{kind}").read
    yield from reader(file) if sample is None else reader(file, sample)


def detect(path: Path) -> str:
    """The format of a file: by its suffix, else by how its first line that is not empty begins.

    Raises `InputError` for one that would be taken for what it is not: tables, pages and letters by their suffix, and chats
    of several people that messengers write as text, of which all would be said by the user.
    """
    suffix = path.suffix.lower()
    if suffix in _OTHERS:
        raise InputError(f"{path.name} is no plain text; convert it, or take it as it is with --format text ({HINT})")
    if suffix in _SUFFIXES and _SUFFIXES[suffix] != "text":
        return _SUFFIXES[suffix]
    begin = [line.lstrip("\u200e\u200f\ufeff ") for _, line in islice(numbered_lines(path), _LOOKED_AT) if line.strip()]
    if sum(_SAID.match(line) is not None for line in begin) > len(begin) / 2:
        raise InputError(
            f"{path.name} is a chat with a date and a name on each line; as text, all of it would be said by you. Convert it, "
            f"or take it as it is with --format text ({HINT})"
        )
    if suffix in _SUFFIXES:
        return "text"
    first = begin[0] if begin else ""
    if suffix == ".json":
        return "locomo" if first.startswith("[") else "jsonl"
    return "jsonl" if first.startswith("{") else "text"
