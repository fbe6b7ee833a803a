"""Whether a text has begun to repeat itself."""

from __future__ import annotations

_REPEATED, _REPEATED_CHARACTERS, _LONGEST_PERIOD = 3, 30, 200
"""Times, and characters in all, that a piece is said over before it is a loop; characters of the longest such piece."""


def repeats_itself(text: str) -> bool:
    """Whether a text ends in the same piece over and over, as a small model's does until its tokens are spent."""
    return any(
        text.endswith(text[-period:] * max(_REPEATED, -(-_REPEATED_CHARACTERS // period))) and text[-period:].strip()
        for period in range(1, min(len(text) // _REPEATED, _LONGEST_PERIOD) + 1)
    )
