"""The output of the released evaluator for two real users: its metric files follow from its result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.synthetic_users import profile
from typer.testing import CliRunner

from memagent.cli.amemgym import app
from memagent.environments.amemgym.data import UserItem, save_items
from memagent.environments.amemgym.official_format import CallResult, Probe, probe_record, read_answers, read_probes
from memagent.environments.amemgym.scoring.diagnosis import RATES, diagnose, diagnose_all
from memagent.environments.amemgym.scoring.reply_parser import parse_reply
from memagent.models.base import Reply


def _official(run: Path, name: str) -> dict[str, Any]:
    return {file.parent.name: json.loads(file.read_text("utf-8")) for file in run.glob(f"*/{name}")}


def test_real_probes_fail_by_writing_where_they_were_just_written(amemgym_run: Path) -> None:
    for matrix in read_probes(amemgym_run).values():
        for p, row in enumerate(matrix):
            for probe in row:
                assert probe is not None
                assert all(one.write_pos <= p == one.read_pos for one in probe.results)
    found = diagnose_all(read_probes(amemgym_run))
    assert all(one["read_failure"][0] == [0] * 10 for one in found.values())


def test_the_reader_finds_the_option_that_real_records_name(amemgym_run: Path) -> None:
    for matrix in read_answers(amemgym_run).values():
        for row in matrix:
            for answer in row:
                assert answer is not None
                assert answer.raw_response is not None
                assert isinstance(answer.response, int)
                assert parse_reply(answer.raw_response, options=9).option == answer.response - 1


# -- the commands -----------------------------------------------------------------------------------------------------


def _report(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [str(one) for one in (*arguments, "--json")])
    if result.exception is not None:
        raise result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_commands_write_the_official_metric_files_of_the_real_run(amemgym_run: Path, tmp_path: Path) -> None:
    scored = _report("score", "--results", amemgym_run, "--files", tmp_path)
    diagnosed = _report("diagnose", "--results", amemgym_run, "--files", tmp_path)
    for name, report in (("overall_metrics", scored), ("diagnosis_metrics", diagnosed)):
        official = _official(amemgym_run, f"{name}.json")
        assert len(official) == 2
        assert report["meta"][name] == official == _official(tmp_path, f"{name}.json")
    rows = {(row["metric"], row["at"]): row["value"] for row in diagnosed["rows"]}
    for at in [*range(21), "mean"]:
        assert sum(rows[name, at] for name in ("accuracy", *RATES)) == pytest.approx(1, abs=1e-9)


def test_replies_of_the_real_run_read_anew_give_its_metric_files(amemgym_run: Path, tmp_path: Path) -> None:
    """On data put together from the records, as far as they tell them: 320 answers and 640 probed values are read anew."""
    items = [_told(amemgym_run, user) for user in sorted(one.name for one in amemgym_run.iterdir())]
    save_items(items, tmp_path / "data.json")
    for flags in ([], ["--compat"]):
        scored = _report("score", "--results", amemgym_run, "--data", tmp_path / "data.json", *flags)
        assert scored["meta"]["overall_metrics"] == _official(amemgym_run, "overall_metrics.json")
        assert (scored["meta"]["way"], scored["meta"]["counts"]["answered"]) == ("compat" if flags else "expected", 320)
    official = _official(amemgym_run, "diagnosis_metrics.json")
    for item in items:
        records = json.loads((amemgym_run / item.id / "diagnosis_results.json").read_text("utf-8"))
        probes = [
            [
                Probe.model_validate(probe_record(item, p, q, "?", CallResult(Reply(text=one["raw_response"], model="m"))))
                for q, one in enumerate(row)
            ]
            for p, row in enumerate(records)
        ]
        assert diagnose([list(row) for row in probes]) == official[item.id]


def _told(run: Path, user: str) -> UserItem:
    """The user's data as far as results tell them; options that nobody chose or needed have made-up values."""
    answers, probes = (
        json.loads((run / user / f"{name}_results.json").read_text("utf-8")) for name in ("overall", "diagnosis")
    )
    states = [{one["info_type"]: one for probe in row for one in probe["results"]} for row in probes]
    qas = []
    for q, probe in enumerate(probes[0]):
        cells = [row[q] for row in answers]
        seen = {one["answer"]: one["answer_state"] for one in cells}
        seen |= {one["response"] - 1: one["response_state"] for one in cells}
        size = len(probe["results"])
        choices = [{"state": seen.get(k, [f"unseen {k}"] * size), "answer": f"option {k}"} for k in range(max(seen) + 1)]
        required = [one["info_type"] for one in probe["results"]]
        qas.append({"query": answers[0][q]["query"], "required_info": required, "answer_choices": choices})
    periods = [
        {
            "period_end": f"period {p}",
            "sessions": [],
            "state": {name: one["answer_state"] for name, one in found.items()},
            "updates": {
                name: {"old": None, "new": one["answer_state"]} for name, one in found.items() if one["write_pos"] == p
            },
        }
        for p, found in enumerate(states)
    ]
    schema = {name: sorted({found[name]["answer_state"] for found in states}) for name in states[0]}
    return UserItem.model_validate(
        {
            "id": user,
            "start_time": "2020-10-01",
            "user_profile": profile(user),
            "state_schema": schema,
            "periods": periods,
            "qas": qas,
        }
    )
