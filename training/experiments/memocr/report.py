"""The report of a laptop study: accuracy by budget with the real OCR, where the evidence stands, and the bars.

Intervals are 95 % bootstraps over questions, of all seeds together; every seed has questions of its own, the same for every
arm, so differences are paired. What each seed says alone is in `meta.seeds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from memagent.evaluation.metrics import Estimate, mean_interval, paired_interval
from memagent.evaluation.report import Row
from training.experiments.memocr.judge import Judged
from training.experiments.memocr.learn import History
from training.experiments.memocr.page import Mode, shares
from training.experiments.memocr.rewards import Sheet, laid_out
from training.experiments.memocr.study import Drafted

FULL_SIZE, MIDDLE, SMALLEST = 1024, 64, 16
PUBLISHED: dict[str, dict[int, float]] = {
    "full": {1024: 74.6, 256: 72.6, 64: 67.3, 16: 62.2},
    "no_augm": {1024: 61.3, 256: 58.3, 64: 48.5, 16: 41.2},
    "std": {1024: 62.2, 256: 58.8, 64: 41.1, 16: 32.9},
    "none": {1024: 56.6, 256: 56.8, 64: 55.9, 16: 37.5},
}
"""Average of four data sets, 10K contexts, Qwen2.5-VL-7B (arXiv 2601.21468; memocr.md 4.2): shown beside, not comparable."""


@dataclass(frozen=True)
class Found:
    """What one arm of one seed came to."""

    arm: str
    seed: int
    drafted: list[Drafted]
    judged: list[Judged]
    history: History | None

    def accuracy(self, tokens: int) -> float:
        """Share of its questions answered at a budget."""
        return fmean(seen.right for seen in self.judged if seen.tokens == tokens)

    def chances(self, tokens: int, mode: Mode) -> list[float]:
        """Chance, by the calibrated eye, of each question that the real one was asked at a budget."""
        asked = {seen.question for seen in self.judged if seen.tokens == tokens}
        pages = [one for one in self.drafted if one.question.id in asked]
        sheets = [Sheet.of(one.question) for one in pages]
        return [float(one) for one in laid_out(sheets, [one.lines for one in pages], mode).chance(tokens)]


class Tables:
    """The rows of one mode."""

    def __init__(self, mode: Mode, found: Sequence[Found], budgets: Sequence[int]) -> None:
        self.mode: Mode = mode
        self.found = found
        self.budgets = sorted(budgets, reverse=True)
        self.arms = list(dict.fromkeys(one.arm for one in found))

    def rows(self) -> Iterator[Row]:
        """Everything that has an interval."""
        for arm in self.arms:
            for tokens in self.budgets:
                yield self._row(arm, "accuracy", tokens, mean_interval(list(self.right(arm, tokens).values())))
            for tokens in self.budgets:
                values = [value for one in self._of(arm) for value in one.chances(tokens, self.mode)]
                yield self._row(arm, "accuracy by the calibrated eye", tokens, mean_interval(values))
            for name, value in _evidence(self._of(arm)):
                yield self._row(arm, name, None, value)
        for arm in self.arms:
            if "full" in self.arms and arm != "full":
                for tokens in self.budgets:
                    apart = paired_interval(self.right("full", tokens), self.right(arm, tokens))
                    yield self._row(f"full - {arm}", "accuracy ahead", tokens, apart)

    def right(self, arm: str, tokens: int) -> dict[str, float]:
        """1 or 0 for each question of each seed."""
        return {
            f"{one.seed}/{seen.question}": float(seen.right)
            for one in self._of(arm)
            for seen in one.judged
            if seen.tokens == tokens
        }

    def seeds(self) -> list[dict[str, Any]]:
        """What each seed says alone."""
        return [
            {
                "arm": one.arm,
                "seed": one.seed,
                "questions": len(one.drafted),
                "accuracy": {str(tokens): one.accuracy(tokens) for tokens in self.budgets},
                **{name: estimate.value for name, estimate in _evidence([one])},
                "reading_share_of_step_time": None if one.history is None else round(one.history.reading_share, 4),
                "seconds": None if one.history is None else {k: round(v, 2) for k, v in one.history.seconds.items()},
            }
            for one in self.found
        ]

    def seconds(self) -> list[dict[str, float]]:
        """Processor time of training by part, of each trained arm of each seed."""
        return [one.history.seconds for one in self.found if one.history]

    def agreement(self) -> dict[str, float]:
        """Calibrated against real eye, over all pages and budgets."""
        pairs = [(fmean(one.chances(tokens, self.mode)), one.accuracy(tokens)) for one in self.found for tokens in self.budgets]
        return {
            "cells": len(pairs),
            "calibrated": fmean(eye for eye, _ in pairs),
            "real": fmean(real for _, real in pairs),
            "mean_difference_of_a_cell": fmean(abs(eye - real) for eye, real in pairs),
        }

    def bars(self) -> dict[str, Any]:
        """What was promised, with the figures; nothing where an arm or a budget that it is about was left out."""
        if not ({"full", "std", "none"} <= set(self.arms) and {FULL_SIZE, MIDDLE, SMALLEST} <= set(self.budgets)):
            return {}

        def mean(arm: str, tokens: int) -> float:
            return fmean(self.right(arm, tokens).values())

        checks: dict[str, Any] = {"kept_at_16": mean("full", SMALLEST) / max(1e-9, mean("full", FULL_SIZE))}
        for tokens, least in ((MIDDLE, 0.25), (SMALLEST, 0.10)):
            full, std = (mean_interval(list(self.right(arm, tokens).values())) for arm in ("full", "std"))
            checks[f"full_beats_std_at_{tokens}"] = {
                "by": full.value - std.value,
                "least": least,
                "intervals_apart": _apart(std, full),
                "good": full.value - std.value >= least and _apart(std, full),
            }
        cost = mean("std", FULL_SIZE) - mean("full", FULL_SIZE)
        checks["cost_at_1024"] = {"points": cost, "most": 0.02, "good": cost <= 0.02}
        large = {arm: mean(arm, FULL_SIZE) for arm in ("none", "std", "full")}
        checks["untrained_below_both_at_1024"] = {**large, "good": large["none"] < min(large["std"], large["full"])}
        before, after = (dict(_evidence(self._of(arm))) for arm in ("none", "full"))
        for name in ("evidence recall in H1", "evidence precision in H1"):
            low, high = before[name].value, after[name].value
            checks[name] = {"before": low, "after": high, "least_times": 2.0, "good": high > 0 and high >= 2 * low}
        return checks

    def _of(self, arm: str) -> list[Found]:
        return [one for one in self.found if one.arm == arm]

    def _row(self, arm: str, metric: str, at: int | None, estimate: Estimate) -> Row:
        return Row.of(f"{self.mode}: {arm}", metric, at, estimate)


def _apart(low: Estimate, high: Estimate) -> bool:
    return low.high is not None and high.low is not None and low.high < high.low


def _evidence(found: Sequence[Found]) -> list[tuple[str, Estimate]]:
    """Share of the evidence that is kept and that is in H1, and of the lines in H1 that are evidence (means over pages)."""
    counts = [(shares(page.question, page.lines), len(page.lines)) for one in found for page in one.drafted]
    values: dict[str, list[float]] = {
        "evidence kept": [one.kept for one, _ in counts],
        "evidence recall in H1": [one.large for one, _ in counts],
        "evidence precision in H1": [one.pure for one, _ in counts if one.pure is not None] or [0.0],
        "lines in H1": [one.lines_large * lines for one, lines in counts],
    }
    return [(name, mean_interval(of_pages)) for name, of_pages in values.items()]


def accuracy_table(tables: Tables) -> str:
    """Accuracy by budget as Markdown, in points, the published ablation beside it."""
    budgets = tables.budgets
    lines = [
        "| arm | " + " | ".join(map(str, budgets)) + " | published (10K): 1024 / 256 / 64 / 16 |",
        "| --- |" + " --- |" * (len(budgets) + 1),
    ]
    for arm in tables.arms:
        cells = [_cell(mean_interval(list(tables.right(arm, tokens).values()))) for tokens in budgets]
        published = " / ".join(f"{value:.1f}" for value in PUBLISHED[arm].values())
        lines.append(f"| {arm} | {' | '.join(cells)} | {published} |")
    return "\n".join(lines) + "\n"


def _cell(estimate: Estimate) -> str:
    low, high = estimate.low or 0.0, estimate.high or 0.0
    return f"{100 * estimate.value:.0f} ({100 * low:.0f}-{100 * high:.0f})"
