"""Rows of the visual-memory report out of its items."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

from memagent.evaluation import arms
from memagent.evaluation.metrics import by_cluster, mean_interval, paired_interval
from memagent.evaluation.report import Row
from memagent.evaluation.runner import ResultRecord


class Key(NamedTuple):
    """Which item."""

    case: str
    seed: int
    arm: str
    at: int
    """Budget in tokens."""


class Item(ResultRecord):
    """What one method showed of one question within one budget."""

    case: str
    seed: int
    arm: str
    at: int
    answer: float | None = None
    """1 where the gold answer is shown, else 0; None for questions that are not asked so."""
    evidence: float | None = None
    """Share of the supporting sentences shown; None for questions without any."""
    density: float | None = None
    """Legible characters per visual token; None for text."""
    seconds: float | None = None
    """Processor time of reading the picture; None for text."""
    tokens: int = 0
    """What the view costs."""

    @property
    def key(self) -> Key:
        """Which item it is."""
        return Key(self.case, self.seed, self.arm, self.at)


TEXT_FACTOR = 4
"""Text is also given this many times the tokens of a picture."""
PAIRED = "fit_minus_best_text_4x"
Metric = Literal["answer", "evidence", "density"]
_NAMES: dict[Metric, str] = {"answer": "answer_shown", "evidence": "evidence_shown", "density": "legible_chars_per_token"}


def rows_of(items: Sequence[Item], budgets: Sequence[int]) -> list[Row]:
    """Every number of the report, by arm, budget and metric; what was measured on nothing has no row."""
    rows: list[Row] = []
    for arm in (*arms.PICTURES, *arms.TEXTS):
        for at in sorted({item.at for item in items if item.arm == arm}):
            for metric, name in _NAMES.items():
                values = values_of(items, arm, at, metric)
                if values:
                    rows.append(Row.of(arm, name, at, mean_interval(list(values.values()))))
            seconds = [item.seconds for item in items if (item.arm, item.at) == (arm, at) and item.seconds is not None]
            if seconds:
                rows.append(Row(method=arm, metric="ocr_seconds", at=at, value=median(seconds), n=len(seconds)))
    return rows + _paired(items, budgets)


def values_of(items: Sequence[Item], arm: str, at: int, metric: Metric) -> dict[str, float]:
    """The value of each question, over its paddings; questions that are not asked so are left out."""
    found = ((item.case, getattr(item, metric)) for item in items if (item.arm, item.at) == (arm, at))
    return by_cluster((case, value) for case, value in found if value is not None)


def best_texts(items: Sequence[Item], budgets: Sequence[int]) -> dict[str, dict[str, str]]:
    """For each budget and metric the text method with the highest mean at `TEXT_FACTOR` times the budget."""
    metrics: tuple[Metric, ...] = ("answer", "evidence")
    return {
        str(budget): {
            _NAMES[metric]: _best_text(items, budget, metric) for metric in metrics if values_of(items, "fit", budget, metric)
        }
        for budget in sorted(set(budgets))
    }


def _best_text(items: Sequence[Item], budget: int, metric: Metric) -> str:
    def mean(arm: str) -> float:
        values = values_of(items, arm, TEXT_FACTOR * budget, metric)
        return sum(values.values()) / len(values)

    return max(arms.TEXTS, key=mean)


def _paired(items: Sequence[Item], budgets: Sequence[int]) -> list[Row]:
    rows: list[Row] = []
    metrics: tuple[Metric, ...] = ("answer", "evidence")
    for budget in sorted(set(budgets)):
        for metric in metrics:
            fit = values_of(items, "fit", budget, metric)
            if fit:
                text = values_of(items, _best_text(items, budget, metric), TEXT_FACTOR * budget, metric)
                rows.append(Row.of(PAIRED, _NAMES[metric], budget, paired_interval(fit, text)))
    return rows
