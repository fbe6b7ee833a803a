"""Rows, tables and the plot of the long-qa bench, with the published numbers beside ours.

Accuracy is the mean over questions (several paddings of one question count as one) with a 95 % bootstrap interval. Published
numbers are `sub_em` of models of 7B with 128 questions a set; they stand beside ours for the same budget and name of length,
never in one mean with them. An `answer_shown` says what could be read, not what a model answered: it is no accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from memagent.environments.long_qa.results import ANSWERS, SHOWN, Prediction
from memagent.environments.long_qa.settings import METHODS, WHOLE, Settings
from memagent.errors import MissingExtra
from memagent.evaluation.metrics import by_cluster, mean_interval, paired_interval
from memagent.evaluation.published import CORRECTED, SETS, accuracies
from memagent.evaluation.report import Report, Row

NAME = "long-qa"
LESS = ("memagent", "memagent-fair", "uniform", "rag", "notes")
"""Methods that `memocr` is compared with, question by question."""
_MINUS = "memocr - "
_FIRST_FAILURES = 20
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:grey")
"""Of `METHODS`, in their order."""


class LongQaReport(Report):
    """Rows by length, and what they are printed with."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the tables, the one that the plot shows first."""
        return tuple(self.meta["tables"])

    @property
    def lengths(self) -> list[str]:
        """Lengths of the contexts, as asked."""
        return list(dict.fromkeys(row.length for row in self.rows if row.length is not None))

    def value(self, arm: str, metric: str, length: str, at: int | None = None) -> Row | None:
        """The row of a method at a length and a budget (None: the only one); None where nothing was measured."""
        wanted = (arm, metric, length)
        found = [row for row in self.rows if (row.method, row.metric, row.length) == wanted and at in (None, row.at)]
        return found[0] if found else None

    def cells(self) -> Iterable[tuple[str, ...]]:
        """Every row as text: arm, metric, length and budget, value, interval, n."""
        for row, (arm, metric, at, *rest) in zip(self.rows, super().cells(), strict=True):
            yield arm, metric, f"{row.length}, {at}", *rest

    def tables(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        """A title and rows for each length and metric; the first row has the heads."""
        return [
            (self._title(length, metric), self._table(length, metric)) for length in self.lengths for metric in self.metrics
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
        """The tables and remarks as Markdown."""
        parts = []
        for title, (head, *rows) in self.tables():
            lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
            parts.append("\n".join([title, "", *lines]))
        return "\n\n".join([*parts, *self.remarks()]) + "\n"

    def _title(self, length: str, metric: str) -> str:
        tokens = self.meta["contexts"][length]["tokens_mean"]
        return f"{length} ({tokens:.0f} tokens of context): {metric}, 95 % over questions in brackets"

    def _table(self, length: str, metric: str) -> list[tuple[str, ...]]:
        budgets = [*self.meta["budgets"]]
        rows = [("method", *map(str, budgets))]
        arms = list(dict.fromkeys(row.method for row in self.rows))
        for arm in arms:
            if arm == WHOLE:
                found = self.value(arm, metric, length)
                if found is not None:
                    rows.append((f"{arm}, {found.at} tokens at once", _cell(found), *("" for _ in budgets[1:])))
                continue
            cells = [self.value(arm, metric, length, at) for at in budgets]
            if any(cells):
                rows.append((arm, *map(_cell, cells)))
        published = self.meta["published"].get(length, {}) if metric == self.metrics[0] else {}  # they are `sub_em`
        for method, known in published.items():
            whole = known.get("100K")
            values = [known.get(str(at), whole if place == 0 else None) for place, at in enumerate(budgets)]
            if any(value is not None for value in values):
                rows.append((f"published: {method}", *("" if value is None else f"{value:.3f}" for value in values)))
        return rows

    def plot(self, path: Path) -> Path:
        """A PNG: for each length the first metric against the budget; published lines are dashed. Raises `MissingExtra`."""
        try:
            import matplotlib

            matplotlib.use("Agg")
            from matplotlib import pyplot
        except ImportError:
            raise MissingExtra("matplotlib", "pip install matplotlib") from None
        budgets, metric = sorted(self.meta["budgets"]), self.metrics[0]
        figure, panels = pyplot.subplots(
            1, len(self.lengths), figsize=(4.5 * len(self.lengths), 3.6), squeeze=False, sharey=True
        )
        for panel, length in zip(panels[0], self.lengths, strict=True):
            for arm in dict.fromkeys(row.method for row in self.rows if not row.method.startswith(_MINUS)):
                self._draw(panel, arm, metric, length, budgets)
            for method, colour in (("MemOCR", "tab:blue"), ("MemAgent", "tab:green")):
                known = self.meta["published"].get(length, {}).get(method, {})
                places = [at for at in budgets if str(at) in known]
                if places:
                    panel.plot(
                        places, [known[str(at)] for at in places], "--", marker=".", color=colour, label=f"{method}, published"
                    )
            panel.set(title=length, xscale="log", xlabel="tokens of the view", ylim=(-0.03, 1.03))
            panel.set_xticks(budgets, map(str, budgets), minor=False)
            panel.minorticks_off()
        panels[0][0].set_ylabel(metric)
        panels[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5))
        figure.savefig(path, dpi=110, bbox_inches="tight")
        pyplot.close(figure)
        return path

    def _draw(self, panel: Any, arm: str, metric: str, length: str, budgets: Sequence[int]) -> None:
        if arm == WHOLE:
            whole = self.value(arm, metric, length)
            if whole is not None:
                panel.axhline(whole.value, color="grey", linewidth=0.8, label=arm)
            return
        rows = [row for at in budgets if (row := self.value(arm, metric, length, at)) is not None]
        values = [row.value for row in rows]
        below = [row.value - (row.value if row.low is None else row.low) for row in rows]
        above = [(row.value if row.high is None else row.high) - row.value for row in rows]
        panel.errorbar(
            [row.at for row in rows],
            values,
            yerr=[below, above],
            marker="o",
            capsize=2,
            color=_COLOURS[METHODS.index(arm)],
            label=arm,
        )


def report_of(
    items: Sequence[Prediction], settings: Settings, *, form: str, model: str | None, facts: dict[str, Any]
) -> LongQaReport:
    """The report of a run's items."""
    metrics = (SHOWN,) if model is None else (*ANSWERS, SHOWN)
    tables = metrics[:1] if model is None else metrics[:2]
    failed = [item for item in items if item.error is not None]
    once = {item.case: item for item in items}.values()
    said = (
        "`answer_shown`, the share of questions whose gold answer stands in what was read (strict sub-EM); no model answered, "
        "so this is what could be answered, not an accuracy; questions with yes or no are left out"
        if model is None
        else f"the answers of {model}, in a box; without one an answer is wrong"
    )
    meta = {
        "scored_by": said,
        "tables": list(tables),
        "budgets": sorted(set(settings.budgets), reverse=True),
        "items": len(items),
        "questions": len(once),
        "without_answer_shown": sum(SHOWN not in item.scores for item in once),
        "failures": {
            "count": len(failed),
            "by_method": dict(Counter(item.arm for item in failed)),
            "first": [f"{tuple(item.key)}: {item.error}" for item in failed[:_FIRST_FAILURES]],
        },
        "without_box": dict(Counter(item.arm for item in items if item.reply is not None and item.prediction is None)),
        "contexts": {length: _contexts([item for item in items if item.length == length]) for length in settings.lengths},
        "published": {length: accuracies(form, length) for length in settings.lengths},
        "published_note": f"sub_em of 7B models on 128 questions of {SETS.get(form, 'the set')} (arXiv 2601.21468), without "
        f"intervals; {CORRECTED}",
        **facts,
    }
    return LongQaReport(name=NAME, rows=[*_rows(items, metrics), *_differences(items, metrics)], meta=meta)


def _contexts(items: Sequence[Prediction]) -> dict[str, Any]:
    """What the contexts of one length were."""
    units = {(item.case, item.seed): item.context for item in items}.values()
    memories = [item.memory_tokens for item in items if item.memory_tokens is not None]
    return {
        "contexts": len(units),
        "tokens_mean": round(mean(one.tokens for one in units), 1),
        "tokens_least": min(one.tokens for one in units),
        "documents_mean": round(mean(one.documents for one in units), 1),
        "short": sum(not one.complete for one in units),
        "memory_tokens_mean": round(mean(memories), 1) if memories else None,
    }


def _values(items: Sequence[Prediction], arm: str, length: str, at: int, metric: str) -> dict[str, float]:
    """The value of each question, over its paddings."""
    found = [item for item in items if (item.arm, item.length, item.at) == (arm, length, at)]
    return by_cluster((item.case, item.scores[metric]) for item in found if metric in item.scores)


def _places(items: Sequence[Prediction]) -> list[tuple[str, str, int]]:
    """Length, method and budget, each once, in the order of the items."""
    return list(dict.fromkeys((item.length, item.arm, item.at) for item in items))


def _rows(items: Sequence[Prediction], metrics: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for length, arm, at in _places(items):
        for metric in metrics:
            values = _values(items, arm, length, at, metric)
            if values:
                rows.append(Row.of(arm, metric, at, mean_interval(list(values.values())), length=length))
    return rows


def _differences(items: Sequence[Prediction], metrics: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for length, arm, at in _places(items):
        for metric in metrics if arm in LESS else ():
            ours, theirs = (_values(items, one, length, at, metric) for one in ("memocr", arm))
            if ours and ours.keys() == theirs.keys():
                rows.append(Row.of(_MINUS + arm, metric, at, paired_interval(ours, theirs), length=length))
    return rows


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    interval = "" if row.low is None or row.high is None else f" ({row.low:.2f}..{row.high:.2f})"
    return f"{row.value:.3f}{interval}"
