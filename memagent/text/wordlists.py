"""Word lists by name, out of `english.toml` and `unspaced.toml`. Further languages are further files."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path


@cache
def _lists() -> dict[str, str]:
    files = (Path(__file__).with_name(f"{name}.toml") for name in ("english", "unspaced"))
    return {name: words for file in files for name, words in tomllib.loads(file.read_text("utf-8")).items()}


def words(name: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(_lists()[name].split())


def lines(name: str) -> list[list[str]]:
    """A list line by line, each as its words."""
    return [line.split() for line in _lists()[name].split("\n") if line]


def alternatives(name: str) -> str:
    """A list as a group of a regular expression: any of its words, or of what stands between its bars; longer ones first."""
    text = _lists()[name]
    found = [one.strip() for one in text.split("|")] if "|" in text else text.split()
    return f"(?:{'|'.join(map(re.escape, sorted(found, key=len, reverse=True)))})"
