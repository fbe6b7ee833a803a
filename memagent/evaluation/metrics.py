"""How right an answer is, and numbers with their uncertainty.

`em`, `f1` and `sub_em` score an answer as the released evaluation of MemOCR does (arXiv 2601.21468), its flaw included:
`sub_em`, the accuracy that the paper reports, holds an answer right also where it is a mere part of the gold one ("par" for
"Paris"), and an answer or a gold one that is normalised to nothing ("the", "!!!") is part of everything. `strict_sub_em` is
ours, without the flaw. Each takes an answer (None: there is none, which scores 0 by every metric) and one gold answer or more,
of which the best counts, and returns 0 to 1, rounded to two decimals as released.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from memagent.errors import InputError

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WHOLE_ANSWERS = frozenset(("yes", "no", "noanswer"))

# -- answers ----------------------------------------------------------------------------------------------------------


def normalise(text: str) -> str:
    """Lower case, then no ASCII punctuation, then a blank for each word a, an and the, then single blanks, none at the ends.

    Other marks stay, such as curly quotes and dashes, as do accents.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def em(prediction: str | None, golds: Sequence[str]) -> float:
    """1 where answer and gold are equal when normalised. Raises `InputError` for no gold."""
    return _best(lambda answer, gold: answer == gold, prediction, golds)


def f1(prediction: str | None, golds: Sequence[str]) -> float:
    """Harmonic mean of the shares of words, with multiplicity, that answer and gold have in common, 0 to 1.

    0 where one of the two is exactly yes, no or noanswer and the other is not the same. Raises `InputError` for no gold.
    """

    def overlap(answer: str, gold: str) -> float:
        if answer != gold and not _WHOLE_ANSWERS.isdisjoint((answer, gold)):
            return 0.0
        said, wanted = answer.split(), gold.split()
        shared = sum((Counter(said) & Counter(wanted)).values())
        if not shared:
            return 0.0
        precision, recall = shared / len(said), shared / len(wanted)
        return 2 * precision * recall / (precision + recall)  # in this form, as ties of rounding hang on it

    return _best(overlap, prediction, golds)


def sub_em(prediction: str | None, golds: Sequence[str]) -> float:
    """1 where, normalised, gold stands in answer or answer in gold, character by character. Raises `InputError` for no gold."""
    return _best(lambda answer, gold: gold in answer or answer in gold, prediction, golds)


def strict_sub_em(prediction: str | None, golds: Sequence[str]) -> float:
    """1 where the normalised gold stands in the answer, from the start of a word to the end of one; 0 for an empty gold.

    Words are what stands between blanks. Raises `InputError` for no gold.
    """
    return _best(lambda answer, gold: bool(gold) and f" {gold} " in f" {answer} ", prediction, golds)


def _best(score: Callable[[str, str], float], prediction: str | None, golds: Sequence[str]) -> float:
    wanted = [golds] if isinstance(golds, str) else golds  # a string is a sequence of strings: one answer is meant
    if not wanted:
        raise InputError("an answer is scored against one gold answer or more; there is none")
    if prediction is None:
        return 0.0
    answer = normalise(prediction)
    return round(max(float(score(answer, normalise(gold))) for gold in wanted), 2)


# -- estimates --------------------------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A mean with its 95 % interval; no interval for a single value."""

    value: float
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """Mean and 95 % percentile bootstrap interval, of 2,000 draws, over independent values. Raises `ValueError` for none."""
    if not values:
        raise ValueError("no values to average")
    data = np.asarray(values, np.float64)
    if len(data) == 1:
        return Estimate(float(data[0]), None, None, 1)
    rows = np.random.default_rng(seed).integers(0, len(data), (2_000, len(data)))
    low, high = np.percentile(data[rows].mean(axis=1), [2.5, 97.5])
    return Estimate(float(data.mean()), float(low), float(high), len(data))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0-100) percent lie."""
    return float(np.percentile(np.asarray(values, np.float64), share))


def by_cluster(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Mean of the values of each cluster, such as the paddings of one question, in the order in which clusters come first.

    An interval over these means is a bootstrap by cluster: values of one cluster are never taken for independent.
    """
    clusters: dict[str, list[float]] = {}
    for name, value in values:
        clusters.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in clusters.items()}


def paired_interval(first: Mapping[str, float], second: Mapping[str, float]) -> Estimate:
    """Mean of `first - second` over what both were measured on, with its bootstrap interval: pairs are drawn, not values.

    Raises `ValueError` when they were not measured on the same, or on nothing.
    """
    if first.keys() != second.keys():
        raise ValueError(
            f"a paired difference needs the same items on both sides; these {len(first.keys() ^ second.keys())} differ"
        )
    return mean_interval([first[name] - second[name] for name in first])
