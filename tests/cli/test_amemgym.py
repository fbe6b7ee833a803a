"""`memagent amemgym` as a user runs it: reports on stdout, files of the official names, errors with what to do."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers.synthetic_users import chosen, made_items, perfect_utilization, probes, right, write_raw
from typer.testing import CliRunner

from memagent.cli.amemgym import app
from memagent.environments.amemgym.data import UserItem, save_items
from memagent.errors import InputError

DOC = Path(__file__).parents[2] / "docs" / "benchmarks" / "amemgym.md"
SECRET = "sk-canary-5521"


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def _report(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run(*arguments, "--json"))
    return found


def _values(report: dict[str, Any], at: object = "mean") -> dict[str, float]:
    return {f"{row['method']}/{row['metric']}": row["value"] for row in report["rows"] if row["at"] == at}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[UserItem]:
    """A folder with data.json, raw/, results/ as an evaluator leaves them and an upper bound; it is the current one."""
    monkeypatch.chdir(tmp_path)
    items = made_items(3)
    save_items(items, "data.json")
    write_raw(Path("raw"))
    results = chosen(items, lambda item, p, q: right(item, p, q) if q < 3 else 0)
    for item in items:
        place = Path("results") / item.id
        place.mkdir(parents=True)
        (place / "overall_results.json").write_text(json.dumps(results[item.id]))
        (place / "diagnosis_results.json").write_text(json.dumps(probes(item, lambda name, p: (len(name) + p) % 3 > 0)))
        (place / "agent_config.json").write_text(json.dumps({"llm_config": {"api_key": SECRET}}))
    Path("utilization_results.json").write_text(json.dumps(perfect_utilization(items)))
    return items


def test_check_counts_and_places(world: list[UserItem]) -> None:
    found = json.loads(_run("check", "--data", "data.json", "--strict", "--json"))
    assert (found["version"], found["users"], found["periods"], found["questions"]) == (1, 3, 15, 15)
    assert found["violations"] == []
    raw = [item.model_dump(mode="json") for item in world]
    raw[1]["periods"][1]["update_cnts"] = {}
    Path("data.json").write_text(json.dumps(raw))
    found = json.loads(_run("check", "--data", "data.json", "--json"))
    assert {one["rule"] for one in found["violations"]} == {"I11"}
    assert "I11 user u1, period 1" in _run("check", "--data", "data.json")
    with pytest.raises(InputError, match="I11 user u1, period 1"):
        _run("check", "--data", "data.json", "--strict")
    with pytest.raises(InputError, match="I11"):
        _run("score", "--data", "data.json", "--results", "results", "--strict")


def test_convert_writes_the_file_and_counts_who_was_dropped(world: list[UserItem]) -> None:
    found = json.loads(_run("convert", "--raw", "raw", "--out", "new.json", "--json"))
    assert (found["users"], found["dropped"], found["violations"]) == (2, {}, 0)
    Path("raw/u1/questions.json").unlink()
    found = json.loads(_run("convert", "--raw", "raw", "--out", "new.json", "--json"))
    assert list(found["dropped"]) == ["u1"]
    Path("new.json").unlink()
    with pytest.raises(InputError, match=r"nothing was written.*user u1: questions\.json"):
        _run("convert", "--raw", "raw", "--out", "new.json", "--strict")
    assert not Path("new.json").exists()


def test_score_reports_in_the_one_shape(world: list[UserItem]) -> None:
    options = ["--results", "results", "--method", "mine", "--metrics", "accuracy,jaccard"]
    report = _report("score", "--data", "data.json", *options)
    assert (report["report"], report["name"], report["meta"]["way"]) == (1, "amemgym", "expected")
    assert report["meta"]["counts"]["answered"] == 75
    assert len(report["meta"]["digest"]) == 64
    assert 0.6 <= _values(report)["mine/accuracy"] <= _values(report)["mine/jaccard"] <= 1
    assert _values(report) == _values(
        _report("score", "--results", "results", "--method", "mine", "--metrics", "accuracy,jaccard")
    )
    assert "accuracy" in _run("score", "--results", "results")


def test_diagnose_gives_counts_and_rates(world: list[UserItem]) -> None:
    for data in ([], ["--data", "data.json"]):
        report = _report("diagnose", *data, "--results", "results")
        means = _values(report)
        rates = [means[f"results/{name}"] for name in ("accuracy", "write_failure", "read_failure", "utilization_failure")]
        assert sum(rates) == pytest.approx(1, abs=1e-9)
        assert set(report["meta"]["diagnosis_metrics"]["u0"]) == {"write_failure", "read_failure", "memory_success"}
    alone = _report("diagnose", "--results", "results/u1/diagnosis_results.json")
    assert {row["at"] for row in alone["rows"]} == {0, 1, 2, 3, 4, "mean"}
    Path("results/u1/overall_results.json").rename("elsewhere.json")
    counts = _report("diagnose", "--results", "results/u1")
    assert {row["metric"] for row in counts["rows"]} == {
        *("unwritten_values_per_question", "unread_values_per_question", "memory_success_rate")
    }
    with pytest.raises(InputError, match="different users"):
        _run("diagnose", "--results", "results", "--overall", "results/u0")


def test_answers_beside_the_probes_that_do_not_fit_leave_the_rates_out(world: list[UserItem]) -> None:
    Path("results/u1/overall_results.json").write_text('[["no record"]]')
    report = _report("diagnose", "--results", "results")
    assert "user u1, period 0, question 0" in report["meta"]["rates_left_out"]
    assert "write_failure" not in {row["metric"] for row in report["rows"]}
    with pytest.raises(InputError, match="user u1, period 0, question 0"):
        _run("diagnose", "--results", "results", "--overall", "results")


def test_bounds_names_both_rules(world: list[UserItem]) -> None:
    plain = _report("bounds", "--data", "data.json")
    assert {row["method"] for row in plain["rows"]} == {"random", "constant_1", "stale"}
    full = _report("bounds", "--data", "data.json", "--utilization", "utilization_results.json", "--results", "results")
    assert full["meta"]["rules"] == {"memory_score": "period", "memory_score_user_period": "user_period"}
    assert full["meta"]["undefined"]["results/memory_score"] == 0
    means = _values(full)
    assert means["upper_bound/accuracy"] == 1.0
    assert 0 < means["results/memory_score"] < 1


def test_metric_files_have_official_names_and_shapes(world: list[UserItem]) -> None:
    _run("score", "--data", "data.json", "--results", "results", "--files", "official")
    _run("diagnose", "--results", "results", "--files", "official")
    bounds = ["--utilization", "utilization_results.json", "--files", "official"]
    _run("bounds", "--data", "data.json", *bounds)
    for item in world:
        accuracy = json.loads(Path("official", item.id, "overall_metrics.json").read_text())
        assert [len(row) for row in accuracy["accuracy"]] == [5] * 5
        counts = json.loads(Path("official", item.id, "diagnosis_metrics.json").read_text())
        assert list(counts) == ["write_failure", "read_failure", "memory_success"]
    for name in ("random_metrics.json", "utilization_metrics.json"):
        whole = json.loads(Path("official", name).read_text())
        assert [[len(row) for row in user] for user in whole["accuracy"]] == [[5] * 5] * 3
    again = _report("bounds", "--data", "data.json", "--utilization", "official/utilization_metrics.json")
    assert _values(again)["upper_bound/accuracy"] == 1.0


def test_no_secret_of_an_agent_reaches_a_file(world: list[UserItem], tmp_path: Path) -> None:
    shown = [
        _run("score", "--data", "data.json", "--results", "results", "--out", "out", "--files", "official"),
        _run("diagnose", "--results", "results", "--out", "out", "--files", "official", "--json"),
        _run("bounds", "--data", "data.json", "--results", "results", "--out", "out", "--files", "official"),
    ]
    assert not any(SECRET in text for text in shown)
    written = [one for folder in ("out", "official") for one in Path(folder).rglob("*") if one.is_file()]
    assert len(written) >= 13
    assert not any(SECRET.encode() in one.read_bytes() for one in written)


def test_commands_of_the_docs_run(world: list[UserItem]) -> None:
    commands = re.findall(r"^memagent amemgym (.*)$", DOC.read_text("utf-8"), re.MULTILINE)
    mine = [shlex.split(one) for one in commands if one.split()[0] in ("check", "convert", "score", "diagnose", "bounds")]
    assert {one[0] for one in mine} == {"check", "convert", "score", "diagnose", "bounds"}
    for command in mine:
        assert _run(*command)
