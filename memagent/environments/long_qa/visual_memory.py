"""`memagent bench visual-memory`: how much of an answer a memory still shows within B tokens, as a picture and as text.

A run of `memagent.environments.long_qa.run` without a model, reported by what stands in what was read:

- `answer_shown`: share of questions whose gold answer stands there (strict sub-EM); yes/no answers are left out.
- `evidence_shown`: share of the supporting sentences, 80 % of whose words stand there in order.
- `legible_chars_per_token`: characters of the words on a picture that were read right, for each visual token.
- `ocr_seconds`: median processor time of reading one picture.

Text is measured at B and at 4B tokens; `memocr_minus_best_text_4x` is the paired difference between `memocr` at B and the text
method that does best at 4B on these very questions, a choice that favours text. Intervals are 95 % bootstraps over questions;
several paddings of one question count as one. Failed items count as 0, and their number is in `meta`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any, ClassVar

from memagent.environments.long_qa.evidence import Precision
from memagent.environments.long_qa.results import DENSITY, EVIDENCE, SHOWN, Prediction, values_of
from memagent.environments.long_qa.run import Ask, LongQaRun, compare_readers, measure
from memagent.environments.long_qa.settings import DRAFT_TEXTS, KINDS, PICTURES, LongQaSettings
from memagent.evaluation.metrics import mean_interval, paired_interval
from memagent.evaluation.report import Report, Row
from memagent.evaluation.runner import SILENT, Progress, failures_of

METHODS = (*KINDS, *PICTURES, *DRAFT_TEXTS)
BUDGETS = (256, 64, 16)
TEXT_FACTOR = 4
"""Text is also given this many times the tokens of a picture."""
PAIRED = "memocr_minus_best_text_4x"


class VisualMemoryReport(Report):
    """Rows of what was read."""

    x_axis: ClassVar[str] = "tokens of the view"

    @property
    def plotted(self) -> list[Row]:
        return [row for row in self.rows if row.method != PAIRED]


def settings(
    *,
    methods: Sequence[str] = METHODS,
    budgets: Sequence[int] = BUDGETS,
    context_tokens: int = 10_000,
    **options: Any,
) -> LongQaSettings:
    """Settings of a run, with what `LongQaSettings` takes besides."""
    return LongQaSettings(
        methods=tuple(methods),
        budgets=tuple(budgets),
        lengths=(str(context_tokens),),
        text_factors=(1, TEXT_FACTOR),
        **options,
    )


def run(
    data: Path,
    chosen: LongQaSettings,
    *,
    out: Path | None = None,
    compare_ocr: int = 0,
    ask: Ask | None = None,
    progress: Progress = SILENT,
) -> VisualMemoryReport:
    """Measure on a file of questions, and save the report in `out`.

    Where pictures were read by the simulated reader, so many of them are compared with the real one afterwards (`compare_ocr`).
    """
    measured = measure(data, chosen, out=out, ask=ask, progress=progress)
    report = report_of(measured, chosen)
    if compare_ocr and chosen.reader == "simulated":
        if out is not None:
            report.save(out)  # comparing takes minutes: what was measured is not lost with it
        found = compare_readers(data, replace(chosen, concurrency=1), measured.records, pictures=compare_ocr, progress=progress)
        report.meta["ocr_agreement"] = found
    return report


def report_of(measured: LongQaRun, chosen: LongQaSettings) -> VisualMemoryReport:
    """The report of a run's records."""
    records = measured.records
    units = {(one.case, one.seed): one for one in records}.values()
    once = {one.case: one for one in records}.values()
    meta = {
        **measured.facts,
        "excluded": {
            "from_answer_shown": sum(SHOWN not in one.scores for one in once),
            "from_evidence_shown": sum(EVIDENCE not in one.scores for one in once),
        },
        "failures": failures_of(records),
        "context": {
            "tokens_mean": mean(one.context.tokens for one in units),
            "tokens_least": min(one.context.tokens for one in units),
            "documents_mean": mean(one.context.documents for one in units),
            "answer_in_context": _share(one.context.answer for one in units),
        },
        "draft": _draft(records),
        "best_text_4x": best_texts(records, chosen.budgets),
        "ocr_agreement": None,
        "ocr_seconds_total": round(sum(one.seconds or 0.0 for one in records), 1),
    }
    return VisualMemoryReport(name="visual-memory", rows=rows_of(records, chosen.budgets), meta=meta)


def rows_of(records: Sequence[Prediction], budgets: Sequence[int]) -> list[Row]:
    """Every number of the report, by method, budget and metric; what was measured on nothing has no row."""
    rows: list[Row] = []
    for method in dict.fromkeys(one.method for one in records):
        for at in sorted({one.at for one in records if one.method == method}):
            for metric in (SHOWN, EVIDENCE, DENSITY):
                values = values_of(records, metric, method=method, at=at)
                if values:
                    rows.append(Row.of(method, metric, at, mean_interval(list(values.values()))))
            seconds = [one.seconds for one in records if (one.method, one.at) == (method, at) and one.seconds is not None]
            if seconds:
                rows.append(Row(method=method, metric="ocr_seconds", at=at, value=median(seconds), n=len(seconds)))
    for budget, best in best_texts(records, budgets).items():
        for metric, text in best.items():
            ours = values_of(records, metric, method="memocr", at=int(budget))
            theirs = values_of(records, metric, method=text, at=TEXT_FACTOR * int(budget))
            rows.append(Row.of(PAIRED, metric, int(budget), paired_interval(ours, theirs)))
    return rows


def best_texts(records: Sequence[Prediction], budgets: Sequence[int]) -> dict[str, dict[str, str]]:
    """For each budget and metric the text method with the highest mean at `TEXT_FACTOR` times the budget."""
    found: dict[str, dict[str, str]] = {}
    for budget in sorted(set(budgets)):
        for metric in (SHOWN, EVIDENCE):
            means = {
                method: mean(values.values())
                for method in dict.fromkeys(one.method for one in records)
                if method not in ("memocr", *PICTURES)
                and (values := values_of(records, metric, method=method, at=TEXT_FACTOR * budget))
            }
            if means and values_of(records, metric, method="memocr", at=budget):
                found.setdefault(str(budget), {})[metric] = max(means, key=lambda method: means[method])
    return found


def _draft(records: Sequence[Prediction]) -> dict[str, Any] | None:
    """The page that pictures and baselines share, and how much of its large type is about the answer."""
    found = {(one.case, one.seed): one.memory for one in records if one.memory is not None}.values()
    if not found:
        return None
    total: dict[str, Precision] = {}
    for one in found:
        for tier, own in one.precision.items():
            total[tier] = total.get(tier, Precision()) + own
    return {
        "tokens_mean": mean(one.tokens for one in found),
        "answer_in_draft": _share(one.answer for one in found),
        "evidence_precision": {tier: {"precision": one.share, "words": one.words} for tier, one in total.items()},
    }


def _share(values: Iterable[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
