"""Failures are counted as in the official files, and the rates add up with accuracy to 1."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from helpers.amemgym_published import CURVES
from helpers.synthetic_users import made_items, probes
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.environments.amemgym.official_format import Probe
from memagent.environments.amemgym.scoring.diagnosis import (
    COUNTS,
    MEANS,
    RATES,
    Diagnosis,
    check_probes,
    diagnose,
    diagnose_all,
    diagnosis_report,
    failure_rates,
)
from memagent.environments.amemgym.scoring.metrics import Pool
from memagent.errors import InputError


def _matrix(raw: list[Any]) -> list[list[Probe | None]]:
    return [[None if one is None else Probe.model_validate(one) for one in row] for row in raw]


def _known(seed: int, share: float = 0.6) -> Any:
    draw, known = Random(seed), {}

    def knows(name: str, p: int) -> bool:
        return known.setdefault((name, p), draw.random() < share)  # type: ignore[no-any-return]

    return knows


@pytest.mark.parametrize("agent", CURVES)
def test_published_curves_satisfy_the_identity_of_our_rates(agent: str) -> None:
    write, read, use, overall = ([float(one) for one in line.split()] for line in CURVES[agent])
    for p in range(11):
        found, scores = _two_hundred(*(round(400 * curve[p]) for curve in (write, read, use, overall)), p=p)
        rates = failure_rates({"u": found}, {"u": scores})
        curves = {name: Pool.of(rates[name]).curve()[p] for name in ("accuracy", *RATES)}
        assert curves["write_failure"] == pytest.approx(write[p], abs=1e-9)
        assert curves["read_failure"] == pytest.approx(read[p], abs=1e-9)
        assert curves["utilization_failure"] == pytest.approx(use[p], abs=1e-9)
        assert curves["accuracy"] == pytest.approx(overall[p], abs=1e-9)
        assert sum(curves.values()) == pytest.approx(1, abs=1e-9)


def _two_hundred(write: int, read: int, use: int, right: int, *, p: int) -> tuple[Diagnosis, list[list[float | None]]]:
    """200 questions of 2 variables whose shares are these, in units of 1/400: whole failures, and one split in half if odd."""
    assert write + read + use + right == 400
    assert use % 2 == right % 2 == 0
    half = [(1, 1)] * (write % 2)
    wrong = [*[(2, 0)] * (write // 2), *[(0, 2)] * (read // 2), *half, *[(0, 0)] * (use // 2)]
    noise = [(1, 0), (0, 1), (1, 1), (0, 0)]  # counts of right answers must not enter
    cells = wrong + [noise[k % 4] for k in range(right // 2)]
    scores = [0.0] * len(wrong) + [1.0] * (right // 2)
    empty: list[Any] = [[] for _ in range(p)]
    counts = [[a for a, _ in cells], [b for _, b in cells], [int(a == b == 0) for a, b in cells]]
    return dict(zip(COUNTS, ([*empty, row] for row in counts), strict=True)), [*empty, list(scores)]


def test_the_probe_at_the_last_update_decides() -> None:
    (item,) = made_items(1)
    variable = next(iter(item.periods[2].updates))
    q = next(k for k, one in enumerate(item.qas) if variable in one.required_info)
    assert item.written_at(variable, 2) == 2
    last = max(p for p in range(2, 5) if item.written_at(variable, p) == 2)
    knows = lambda name, p: name != variable or p != last  # noqa: E731
    found = diagnose(_matrix(probes(item, knows)))
    if last == 2:
        assert (found["write_failure"][last][q], found["read_failure"][last][q]) == (1, 0)
    else:
        assert (found["write_failure"][last][q], found["read_failure"][last][q]) == (0, 1)
    never = diagnose(_matrix(probes(item, lambda name, _p: name != variable)))
    assert [row[q] for row in never["write_failure"]] == [1] * 5
    assert [row[q] for row in never["read_failure"]] == [0] * 5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9_999))
def test_no_read_failure_where_all_was_just_written(seed: int) -> None:
    (item,) = made_items(1, seed=seed)
    found = diagnose(_matrix(probes(item, _known(seed))))
    assert found["read_failure"][0] == [0] * 5
    for p in range(5):
        for q, question in enumerate(item.qas):
            write, read = found["write_failure"][p][q], found["read_failure"][p][q]
            assert write is not None
            assert read is not None
            fresh = sum(item.written_at(name, p) == p for name in question.required_info)
            assert read <= len(question.required_info) - fresh
            assert found["memory_success"][p][q] == int(write + read == 0)


def test_wrong_answers_are_split_by_their_counts() -> None:
    counts = [[1, 0, 2, 0, 1]], [[1, 2, 0, 0, 2]], [[0, 0, 0, 1, 0]]
    found: Diagnosis = dict(zip(COUNTS, counts, strict=True))  # type: ignore[arg-type]
    rates = failure_rates({"u": found}, {"u": [[0.0, 0.0, 1.0, 0.0, 0.25]]})
    assert rates["write_failure"][0][0] == [0.5, 0.0, 0.0, 0.0, 0.25]
    assert rates["read_failure"][0][0] == [0.5, 1.0, 0.0, 0.0, 0.5]
    assert rates["utilization_failure"][0][0] == [0.0, 0.0, 0.0, 1.0, 0.0]


def test_a_period_without_questions_has_no_counts() -> None:
    assert diagnose([[], []]) == {name: [[], []] for name in ("write_failure", "read_failure", "memory_success")}


def test_missing_probes_leave_a_question_undecided() -> None:
    (item,) = made_items(1)
    raw = probes(item, lambda _name, p: p == 0)
    raw[0][0] = raw[4][1] = None
    found = diagnose(_matrix(raw))
    assert found["memory_success"][4][1] is None
    assert found["memory_success"][0][0] is None
    report = diagnosis_report({"u0": found}, method="x")
    assert report.meta["undecided"] >= 2
    assert {row.metric for row in report.rows} == set(MEANS.values())


def test_probes_that_contradict_the_data_or_themselves_are_refused() -> None:
    (item,) = made_items(1)
    raw = probes(item, lambda _name, _p: False)
    matrix = {"u0": _matrix(raw)}
    check_probes(matrix, [item])
    raw[1][2]["results"][0]["answer_state"] = "else"
    with pytest.raises(InputError, match="user u0, period 1, question 2"):
        check_probes({"u0": _matrix(raw)}, [item])
    raw[1][2]["results"][0]["write_pos"] = 3
    with pytest.raises(InputError, match=r"user u0, period 1, question 2: .* in period 3, later"):
        diagnose_all({"u0": _matrix(raw)})
    found = diagnose_all(matrix)
    with pytest.raises(InputError, match="different users"):
        failure_rates(found, {"u1": []})
    with pytest.raises(InputError, match="other periods or questions"):
        failure_rates(found, {"u0": [[0.0]]})
