"""Reports are those that were written down: a step that moves a number says so.

Values are compared to 1e-4 where linear algebra takes part (its last bits differ between machines and may turn ties over), and
to the digit written down elsewhere.
"""

from __future__ import annotations

import json

import pytest
from golden import runs
from helpers.real_data import needed


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", runs.RUNS)
def test_a_report_is_the_one_that_was_written_down(name: str) -> None:
    make, data = runs.RUNS[name]
    if data is not None:
        needed(data)
    wanted = json.loads(runs.file_of(name).read_text("utf-8"))
    found = make()
    assert [_key(row) for row in found] == [_key(row) for row in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        for field, value in theirs.items():
            if isinstance(value, float):
                assert ours[field] == pytest.approx(value, abs=1e-4), _key(theirs)


def test_the_recall_that_was_written_down_reaches_the_bar() -> None:
    """Of search on talk of people; that it is today's is shown above."""
    rows = json.loads(runs.file_of("recall").read_text("utf-8"))
    value = {(row["method"], row["metric"], row["at"]): row["value"] for row in rows}
    assert value["fused", "evidence_recall", 10] >= 0.825
    assert value["fused", "evidence_recall_c1", 10] >= 0.545


def _key(row: dict[str, object]) -> tuple[object, ...]:
    return tuple((name, value) for name, value in row.items() if not isinstance(value, float))
