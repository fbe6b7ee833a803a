"""Memory factual recall: the share of what a period gave away that a memory supports (AMemGym, arXiv 2603.01966)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Supports = Callable[[str, str, str], bool]
"""Judges one claim: text of the memory, name of the variable, value."""


def names_value(memory: str, variable: str, value: str) -> bool:
    """Whether the words of `value` follow each other in `memory`; underscores of both count as blanks.

    The judge without a model. `variable` is not looked for: texts seldom name it.
    """
    words = re.findall(r"[^\W_]+", value.casefold())
    text = re.findall(r"[^\W_]+", memory.casefold())
    return bool(words) and any(text[at : at + len(words)] == words for at in range(len(text) - len(words) + 1))


def factual_recall(memory: str, given_away: Mapping[str, str], *, supports: Supports = names_value) -> float | None:
    """The share, 0 to 1, of the given-away values (by variable) that a memory supports; None when nothing was given away."""
    if not given_away:
        return None
    return sum(supports(memory, name, value) for name, value in given_away.items()) / len(given_away)
