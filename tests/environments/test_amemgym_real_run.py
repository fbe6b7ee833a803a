"""The output of the released evaluator for two real users: its metric files follow from its result files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from memagent.environments.amemgym.curves import Pool
from memagent.environments.amemgym.diagnosis import RATES, diagnose_all, failure_rates
from memagent.environments.amemgym.parse import parse_official, parse_reply
from memagent.environments.amemgym.results import read_answers, read_probes
from memagent.environments.amemgym.scoring import score_answers

RUN = Path(os.environ.get("MEMAGENT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "amemgym_run"


@pytest.fixture(scope="module")
def run() -> Path:
    if not RUN.is_dir():
        pytest.skip("real data absent")
    return RUN


def _official(run: Path, name: str) -> dict[str, Any]:
    return {file.parent.name: json.loads(file.read_text("utf-8")) for file in run.glob(f"*/{name}")}


def test_amemgym_checklist_04_overall_metrics_follow_from_real_records(run: Path) -> None:
    scores = score_answers(read_answers(run))
    official = _official(run, "overall_metrics.json")
    assert len(official) == 2
    assert scores.official() == official
    assert scores.counts["answered"] == sum(len(row) for one in official.values() for row in one["accuracy"])


def test_amemgym_checklist_04_diagnosis_metrics_follow_from_real_probes(run: Path) -> None:
    found = diagnose_all(read_probes(run))
    assert {user: one.official() for user, one in found.items()} == _official(run, "diagnosis_metrics.json")


def test_amemgym_checklist_14_real_probes_fail_by_writing_where_they_were_just_written(run: Path) -> None:
    for matrix in read_probes(run).values():
        for p, row in enumerate(matrix):
            for probe in row:
                assert probe is not None
                assert all(one.write_pos <= p == one.read_pos for one in probe.results)
    found = diagnose_all(read_probes(run))
    assert all(one.read_failure[0] == [0] * 10 for one in found.values())


def test_amemgym_checklist_15_real_rates_add_up_to_one(run: Path) -> None:
    scores = score_answers(read_answers(run))
    rates = failure_rates(diagnose_all(read_probes(run)), scores.by_user("accuracy"))
    total = sum(Pool.of(getattr(rates, name)).curve() for name in ("accuracy", *RATES))
    assert list(total) == pytest.approx([1.0] * len(total), abs=1e-9)  # type: ignore[call-overload]


def test_amemgym_checklist_10_both_readers_find_the_option_that_real_records_name(run: Path) -> None:
    for matrix in read_answers(run).values():
        for row in matrix:
            for answer in row:
                assert answer is not None
                assert answer.raw_response is not None
                assert isinstance(answer.response, int)
                for parse in (parse_reply, parse_official):
                    assert parse(answer.raw_response, options=9).option == answer.response - 1
