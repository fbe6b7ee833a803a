r"""MemOCR's verifier: the last boxed answer of a reply, compared with the gold answers as the released training code does.

Source: the release of MemOCR (arXiv 2601.21468). It is strict where people are not:
"the X", "X.", "1,234" for "1234" and "U.S.A." for "USA" all earn 0. Evaluation uses `memagent.evaluation.metrics` instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from memagent.errors import InputError
from memagent.text.boxed import extract_boxed

WINDOW = 300
"""Characters at the end of a reply that the verifier looks at; a box that opens before them is not seen."""

_REWRITES = (
    ("\n", ""),
    ("\\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    ("\\left", ""),
    ("\\right", ""),
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("\\$", ""),
    ("\\%", ""),
    (" .", " 0."),
    ("{.", "{0."),
    (" ", ""),
)
"""In this order, on answer and gold alike."""


def memocr_reward(response: str, golds: Sequence[str]) -> float:
    """1 where the box in the last 300 characters holds one of the gold answers, but for case and spaces; else 0.

    An empty box equals an empty gold. Raises `InputError` for no gold.

    >>> memocr_reward("It is \\\\boxed{New York}.", ["new york", "NYC"])
    1.0
    """
    wanted = [golds] if isinstance(golds, str) else golds  # a string is a sequence of strings: one answer is meant
    if not wanted:
        raise InputError("an answer is scored against one gold answer or more; there is none")
    answer = extract_boxed(response[-WINDOW:].lower())
    return float(answer is not None and _plain(answer) in {_plain(gold.lower()) for gold in wanted})


def _plain(text: str) -> str:
    for old, new in _REWRITES:
        text = text.replace(old, new)
    return text
