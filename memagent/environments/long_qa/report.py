"""Rows, tables and the plot of the long-qa bench, with the published numbers beside ours.

Accuracy is the mean over questions (several paddings of one question count as one) with a 95 % bootstrap interval. Published
numbers are `sub_em` of models of 7B with 128 questions a set; they stand beside ours for the same budget and name of length,
never in one mean with them. An `answer_shown` says what could be read, not what a model answered: it is no accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from memagent.environments.long_qa.results import ANSWERS, SHOWN, Prediction, values_of
from memagent.environments.long_qa.run import Ask, LongQaRun, measure
from memagent.environments.long_qa.settings import WHOLE, LongQaSettings
from memagent.evaluation.metrics import mean_interval, paired_interval
from memagent.evaluation.plots import draw_rows, figure, sizes
from memagent.evaluation.published import CORRECTED, SETS, accuracies
from memagent.evaluation.report import Report, Row
from memagent.evaluation.runner import SILENT, Progress, failures_of
from memagent.models.base import ChatModel

NAME = "long-qa"
_MINUS = "memocr - "
_SCORED = (
    "`answer_shown`, the share of questions whose gold answer stands in what was read (strict sub-EM); no model answered, so "
    "this is what could be answered, not an accuracy; questions with yes or no are left out"
)


class LongQaReport(Report):
    """Rows by length, and what they are printed with."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the tables, the one that the plot shows first."""
        return tuple(self.meta["tables"])

    @property
    def lengths(self) -> list[str]:
        return list(dict.fromkeys(row.length for row in self.rows if row.length is not None))

    def value(self, method: str, metric: str, length: str, at: int | None = None) -> Row | None:
        """The row of a method at a length and a budget (None: the only one); None where nothing was measured."""
        wanted = (method, metric, length)
        found = [row for row in self.rows if (row.method, row.metric, row.length) == wanted and at in (None, row.at)]
        return found[0] if found else None

    def cells(self) -> Iterable[tuple[str, ...]]:
        """Every row as text: method, metric, length and budget, value, interval, n."""
        for row, (method, metric, at, *rest) in zip(self.rows, super().cells(), strict=True):
            yield method, metric, f"{row.length}, {at}", *rest

    def tables(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        """A title and rows for each length and metric; the first row has the heads."""
        tokens = {length: facts["tokens_mean"] for length, facts in self.meta["contexts"].items()}
        said = "({:.0f} tokens of context): {}, 95 % over questions in brackets"
        return [
            (f"{length} {said.format(tokens[length], metric)}", self._table(length, metric))
            for length in self.lengths
            for metric in self.metrics
        ]

    def remarks(self) -> list[str]:
        """What has to be known to read the tables."""
        meta, said = self.meta, [f"Scored by: {self.meta['scored_by']}."]
        for length, facts in meta["contexts"].items():
            if facts["short"]:
                said.append(
                    f"{length}: {facts['short']} of {facts['contexts']} contexts are shorter, {facts['tokens_mean']:.0f} "
                    "tokens on average: the file has no more documents to pad them with (--pool FILE adds some)."
                )
        failed = meta["failures"]["count"]
        first = f", the first: {meta['failures']['first'][0]}" if failed else ""
        said.append(f"{failed} of {meta['items']} items failed and count as 0{first}.")
        if any(meta["published"].values()):
            apart = "" if len(self.metrics) > 1 else " They are accuracies, which `answer_shown` is not."
            said.append(f"Published numbers: {meta['published_note']}.{apart}")
        return said

    def markdown(self) -> str:
        parts = []
        for title, (head, *rows) in self.tables():
            lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
            parts.append("\n".join([title, "", *lines]))
        return "\n\n".join([*parts, *self.remarks()]) + "\n"

    def _table(self, length: str, metric: str) -> list[tuple[str, ...]]:
        budgets = [*self.meta["budgets"]]
        rows = [("method", *map(str, budgets))]
        for method in dict.fromkeys(row.method for row in self.rows):
            if method == WHOLE:
                found = self.value(method, metric, length)
                if found is not None:
                    rows.append((f"{method}, {found.at} tokens at once", _cell(found), *("" for _ in budgets[1:])))
                continue
            cells = [self.value(method, metric, length, at) for at in budgets]
            if any(cells):
                rows.append((method, *map(_cell, cells)))
        published = self.meta["published"].get(length, {}) if metric == self.metrics[0] else {}  # they are `sub_em`
        for method, known in published.items():
            whole = known.get("100K")
            values = [known.get(str(at), whole if place == 0 else None) for place, at in enumerate(budgets)]
            if any(value is not None for value in values):
                rows.append((f"published: {method}", *("" if value is None else f"{value:.3f}" for value in values)))
        return rows

    def plot(self, path: Path) -> Path:
        """A PNG: for each length the first metric against the budget, and beside it, where that is the published metric,
        the published numbers. Raises `MissingExtra`.
        """
        metric, x = self.metrics[0], "tokens of the view"
        ours = [row for row in self.rows if row.metric == metric and not row.method.startswith(_MINUS) and row.method != WHOLE]
        methods = list(dict.fromkeys(row.method for row in ours))
        panels = []
        for length in self.lengths:
            rows = [row for row in ours if row.length == length]
            panels.append(
                (f"{length}: {metric}, {sizes(rows)}", partial(self._draw, rows=rows, methods=methods, length=length))
            )
        for length, known in self.meta["published"].items():
            if known and metric == "sub_em":
                theirs = [
                    Row(method=name, metric=metric, at=int(at), value=value, n=128)
                    for name, values in known.items()
                    for at, value in values.items()
                    if at.isdigit() and name in ("MemOCR", "MemAgent")
                ]
                panels.append((f"{length}: published {metric} of 7B models, n = 128", partial(draw_rows, rows=theirs, x=x)))
        note = "Bars: 95 % over questions. " + (_NO_ACCURACY if metric == SHOWN else "")
        return figure(path, panels, note=note)

    def _draw(self, axes: Any, *, rows: Sequence[Row], methods: Sequence[str], length: str) -> None:
        draw_rows(axes, rows, x="tokens of the view", methods=methods)
        whole = self.value(WHOLE, self.metrics[0], length)
        if whole is not None:
            axes.axhline(whole.value, color="grey", linewidth=0.8, linestyle="--", label=f"{WHOLE}, {whole.at} tokens")


_NO_ACCURACY = "answer_shown: the answer stands in what was read; no model answered, so it is no accuracy."


def run(
    data: Path,
    settings: LongQaSettings,
    *,
    model: ChatModel | None = None,
    pool: Path | None = None,
    out: Path | None = None,
    ask: Ask | None = None,
    progress: Progress = SILENT,
) -> LongQaReport:
    """`measure` and report."""
    return report_of(measure(data, settings, model=model, pool=pool, out=out, ask=ask, progress=progress), settings)


def report_of(measured: LongQaRun, settings: LongQaSettings) -> LongQaReport:
    """The report of a run."""
    items, form, model = measured.records, measured.form, measured.model
    metrics = (SHOWN,) if model is None else (*ANSWERS, SHOWN)
    tables = metrics[:1] if model is None else metrics[:2]
    failed = [item for item in items if item.error is not None]
    once = {item.case: item for item in items}.values()
    said = _SCORED if model is None else f"the answers of {model}, in a box; without one an answer is wrong"
    meta = {
        "scored_by": said,
        "tables": list(tables),
        "budgets": sorted(set(settings.budgets), reverse=True),
        "items": len(items),
        "questions": len(once),
        "without_answer_shown": sum(SHOWN not in item.scores for item in once),
        "failures": {**failures_of(items), "by_method": dict(Counter(item.method for item in failed))},
        "without_box": dict(Counter(item.method for item in items if item.reply is not None and item.prediction is None)),
        "contexts": {length: _contexts([item for item in items if item.length == length]) for length in settings.lengths},
        "published": {length: accuracies(form, length) for length in settings.lengths},
        "published_note": f"sub_em of 7B models on 128 questions of {SETS.get(form, 'the set')} (arXiv 2601.21468), without "
        f"intervals; {CORRECTED}",
        **measured.facts,
    }
    return LongQaReport(name=NAME, rows=_rows(items, metrics), meta=meta)


def _contexts(items: Sequence[Prediction]) -> dict[str, Any]:
    """What the contexts of one length were."""
    units = {(item.case, item.seed): item.context for item in items}.values()
    memories = [item.memory.tokens for item in items if item.memory is not None]
    return {
        "contexts": len(units),
        "tokens_mean": round(mean(one.tokens for one in units), 1),
        "tokens_least": min(one.tokens for one in units),
        "documents_mean": round(mean(one.documents for one in units), 1),
        "short": sum(not one.complete for one in units),
        "memory_tokens_mean": round(mean(memories), 1) if memories else None,
    }


def _rows(items: Sequence[Prediction], metrics: Sequence[str]) -> list[Row]:
    """Means of each length, method and budget, then what `memocr` is better by, question by question."""
    rows: list[Row] = []
    differences: list[Row] = []
    for length, method, at in dict.fromkeys((item.length, item.method, item.at) for item in items):
        for metric in metrics:
            values = values_of(items, metric, method=method, length=length, at=at)
            if not values:
                continue
            rows.append(Row.of(method, metric, at, mean_interval(list(values.values())), length=length))
            ours = values_of(items, metric, method="memocr", length=length, at=at)
            if method not in ("memocr", WHOLE) and ours.keys() == values.keys():
                difference = paired_interval(ours, values)
                differences.append(Row.of(_MINUS + method, metric, at, difference, length=length))
    return [*rows, *differences]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    interval = "" if row.low is None or row.high is None else f" ({row.low:.2f}..{row.high:.2f})"
    return f"{row.value:.3f}{interval}"
