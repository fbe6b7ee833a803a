"""Where a wrong answer arose: the fact was not written, not read back, or not used.

After each period every required variable is probed: does the assistant give its present value? A variable known neither
now nor right after it was last set was never written; one known then and not now was not read. If all are known and the
answer is still wrong, it was not used. Counts are kept for every question, as in the official `diagnosis_metrics.json`;
rates take wrong answers only and split each between writing and reading by the counts, so that for every period
write + read + utilization + accuracy = 1. An answer that is right by a share (an expected score) fails by the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.official_format import Matrix, Probe
from memagent.environments.amemgym.scoring.metrics import DRAWS, Accuracies, Cells, PeriodReport, pooled_rows
from memagent.errors import InputError
from memagent.evaluation.report import Report, Row

COUNTS = ("write_failure", "read_failure", "memory_success")
MEANS = {
    "write_failure": "unwritten_values_per_question",
    "read_failure": "unread_values_per_question",
    "memory_success": "memory_success_rate",
}
"""What a report calls the means of the counts."""
RATES = ("write_failure", "read_failure", "utilization_failure")
Diagnosis = dict[str, list[list[int | None]]]
"""One user's counts by `COUNTS`, each [periods][questions], as `diagnosis_metrics.json` has them: variables not written,
variables written and not read, and 1 where all are known. None where a probe is missing."""
Rates = dict[str, Accuracies]
"""Shares of one question by `accuracy` and `RATES`, each [users][periods][questions], 0 to 1."""


def diagnose(matrix: Matrix[Probe]) -> Diagnosis:
    """The counts of one user's probes. Raises `InputError` for probes that contradict each other."""
    cells = [[_counts(matrix, p, q) for q in range(len(row))] for p, row in enumerate(matrix)]
    return {name: [[cell[k] for cell in row] for row in cells] for k, name in enumerate(COUNTS)}


def diagnose_all(probes: Mapping[str, Matrix[Probe]]) -> dict[str, Diagnosis]:
    """The counts of all users. Raises `InputError` naming the user."""
    found = {}
    for user, matrix in probes.items():
        try:
            found[user] = diagnose(matrix)
        except InputError as error:
            raise InputError(f"user {user}, {error}") from error
    return found


def _counts(matrix: Matrix[Probe], p: int, q: int) -> tuple[int | None, int | None, int | None]:
    probe = matrix[p][q]
    if probe is None:
        return None, None, None
    write = read = 0
    for k, result in enumerate(probe.results):
        if result.write_pos > p:
            raise InputError(f"period {p}, question {q}: {result.info_type!r} was last set in period {result.write_pos}, later")
        if result.score >= 1:
            continue
        then = matrix[result.write_pos][q]
        if then is None or len(then.results) <= k:
            return None, None, None
        if then.results[k].score >= 1:
            read += 1
        else:
            write += 1
    return write, read, int(write == read == 0)


def check_probes(probes: Mapping[str, Matrix[Probe]], items: Sequence[UserItem]) -> None:
    """Raise `InputError` where probes are not about these data: variables, positions or values differ."""
    by_id = {item.id: item for item in items}
    for user, matrix in probes.items():
        item = by_id[user]
        for p, row in enumerate(matrix):
            for q, probe in enumerate(row):
                if probe is None:
                    continue
                state = item.periods[p].state
                said = [(one.info_type, one.write_pos, one.answer_state) for one in probe.results]
                right = [(name, item.written_at(name, p), state.get(name)) for name in item.qas[q].required_info]
                if said != right:
                    raise InputError(
                        f"user {item.id}, period {p}, question {q}: the probes are of (variable, last set, value) {said}, "
                        f"the data say {right}; give the data they ran on"
                    )


def failure_rates(found: Mapping[str, Diagnosis], accuracy: Mapping[str, Sequence[Sequence[float | None]]]) -> Rates:
    """Split what each user's answers lack to 1. Cells without an answer or a probe are left out of all four."""
    if strangers := sorted(found.keys() ^ accuracy.keys()):
        raise InputError(f"probes and answers are of different users: only one of both has {', '.join(strangers[:3])}")
    rates: Rates = {name: [] for name in ("accuracy", *RATES)}
    for user, one in found.items():
        scores, write, read = accuracy[user], one["write_failure"], one["read_failure"]
        if [len(row) for row in scores] != [len(row) for row in write]:
            raise InputError(f"user {user}: the answers have other periods or questions than the probes")
        cells = [list(map(_shares, *rows)) for rows in zip(scores, write, read, strict=True)]
        for k, table in enumerate(rates.values()):
            table.append([[None if cell is None else cell[k] for cell in row] for row in cells])
    return rates


def _shares(score: float | None, write: int | None, read: int | None) -> tuple[float, float, float, float] | None:
    if score is None or write is None or read is None:
        return None
    lost, known = 1.0 - score, write + read
    if not known:
        return score, 0.0, 0.0, lost
    return score, lost * write / known, lost * read / known, 0.0


def diagnosis_report(
    found: Mapping[str, Diagnosis],
    rates: Rates | None = None,
    *,
    method: str,
    seed: int = 0,
    meta: Mapping[str, object] | None = None,
) -> Report:
    """The failure rates by period where answers are known, the mean counts, and every question's counts in `meta`."""
    rows: list[Row] = []
    for name, shares in (rates or {}).items():
        rows += pooled_rows(method, name, shares, seed=seed)
    counts: dict[str, Cells] = {name: [one[name] for one in found.values()] for name in COUNTS}
    for name, cells in counts.items():
        rows += pooled_rows(method, MEANS[name], cells, seed=seed)
    undecided = sum(cell is None for user in counts["memory_success"] for row in user for cell in row)
    facts = {"users": len(found), "undecided": undecided, "seed": seed, "draws": DRAWS}
    return PeriodReport(name="amemgym-diagnosis", rows=rows, meta={**facts, **(meta or {}), "diagnosis_metrics": dict(found)})
