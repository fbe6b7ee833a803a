r"""The last `\boxed{...}` of a reply, found in the two ways that published checkers find it.

Published checkers look at the end of a reply only: MemOCR's (arXiv 2601.21468) is given the last 300 characters, that of
self-verification (arXiv 2602.07594) wants the box to open in the last 200 (`window`).
"""

from __future__ import annotations

_BOX = "\\boxed"


def last_boxed(text: str, *, window: int | None = None) -> str | None:
    r"""The content of the last `\boxed{...}` that opens in the last `window` characters, as written, braces balanced.

    None when there is no box, or when the last one is not closed, even if an earlier one was. An empty box gives "".
    """
    tail = text if window is None else text[max(0, len(text) - window) :]
    start = tail.rfind(_BOX + "{")
    return None if start < 0 else _balanced(tail, start + len(_BOX) + 1)


def extract_boxed(text: str) -> str | None:
    r"""As `last_boxed`, with the rules of MemOCR's released code for a `\boxed` without braces.

    Where `\boxed` is followed by a blank anywhere, what follows the last such place counts instead, up to the next `$` or
    the end, braces included. None when the last `\boxed` has neither. `\fbox{...}` is no answer: the released code looks for it
    and then fails on it.
    """
    _, spaced, rest = text.rpartition(_BOX + " ")
    if spaced:
        return rest.partition("$")[0]
    return last_boxed(text) if text.rfind(_BOX) == text.rfind(_BOX + "{") else None


def _balanced(text: str, start: int) -> str | None:
    """What is between a brace that opens just before `start` and the one that closes it; None when none does."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return None
