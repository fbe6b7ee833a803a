"""Markdown: a message a section, below its own heading and those it is nested in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from memagent.importers.base import Batch, numbered_lines
from memagent.importers.text import as_messages


def read(path: Path) -> Iterator[Batch]:
    """The sections of a file. Raises `InputError`."""
    yield from as_messages(path, _sections([line for _, line in numbered_lines(path)]))


def _sections(lines: list[str]) -> Iterator[str]:
    """A heading without a text of its own is not a section; it stands above the sections within it."""
    from markdown_it import MarkdownIt

    starts = [(0, 0, 0)]  # level, first line, first line after the heading; level 0 is the text before any
    for token in MarkdownIt("commonmark").parse("\n".join(lines)):
        if token.type == "heading_open" and token.level == 0 and token.map:
            starts.append((int(token.tag[1:]), token.map[0], token.map[1]))
    ends = [start for _, start, _ in starts[1:]] + [len(lines)]
    above: list[tuple[int, str]] = []
    for (level, start, body), end in zip(starts, ends, strict=True):
        heading = "\n".join(lines[start:body])
        above = [one for one in above if one[0] < level]
        text = "\n".join(lines[body:end]).strip("\n").rstrip()
        if text.strip():
            yield "\n\n".join([*(one[1] for one in above), *([heading] if heading else []), text])
        if heading:
            above.append((level, heading))
