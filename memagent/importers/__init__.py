"""Reading conversations and texts that were made elsewhere, as batches of messages ready for `Memory.add`.

Four formats: plain text (a message a paragraph), Markdown (a message a section), JSONL (a message a line: chat logs
and our own exports) and LoCoMo. Reading one file twice gives the same messages with the same ids, so that an import
that was cut short is simply done again: what is stored already is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from memagent.errors import InputError
from memagent.importers.base import Batch, numbered_lines

__all__ = ["FORMATS", "Batch", "detect", "read"]

_READERS = ("text", "markdown", "jsonl", "locomo")
FORMATS = ("auto", *_READERS)
_SUFFIXES = {".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown", ".jsonl": "jsonl", ".ndjson": "jsonl"}


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
    """The format of a file: by its suffix, else by how its first line that is not empty begins."""
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    first = next((line.lstrip() for _, line in numbered_lines(path) if line.strip()), "")
    if suffix == ".json":
        return "locomo" if first.startswith("[") else "jsonl"
    return "jsonl" if first.startswith("{") else "text"
