r"""Answers in boxes: what stands in the last `\boxed{...}` of a reply (specification memocr.md, section 1.6)."""

from __future__ import annotations

_BOX = "\\boxed"


def extract_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` as written, braces balanced; None when there is none or it is never closed.

    Where `\boxed` is followed by a blank anywhere, what follows the last such place counts instead, up to the next `$` or
    the end, braces included. `\fbox{...}` is no answer: the released code looks for it and then fails on it.
    """
    _, spaced, rest = text.rpartition(_BOX + " ")
    if spaced:
        return rest.partition("$")[0]
    start = text.rfind(_BOX + "{")
    if start < 0 or start != text.rfind(_BOX):
        return None
    return balanced(text, start + len(_BOX) + 1)


def balanced(text: str, start: int) -> str | None:
    """What stands between a brace that opens just before `start` and the one that closes it; None when none does."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return None
