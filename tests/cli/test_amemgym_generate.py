"""`memagent amemgym generate`: both ways to make users, what they cost, and going on after a stop."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from helpers.ideal_writer import GoodWriter
from typer.testing import CliRunner

from memagent.cli import amemgym_generate
from memagent.cli.amemgym import app
from memagent.environments.amemgym.data import load_items
from memagent.environments.amemgym.estimate import generation_calls
from memagent.environments.amemgym.generate import generate_users, preset
from memagent.environments.amemgym.generate.working_files import convert
from memagent.environments.amemgym.validate import require_valid
from memagent.errors import InputError, ModelError
from memagent.models.base import Request

BASE = preset("v1.base")


def _run(*arguments: object) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["generate", *(str(one) for one in arguments)])
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.stderr


def _json(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run(*arguments, "--json")[0])
    return found


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> GoodWriter:
    """What every name of a model loads."""
    model = GoodWriter(BASE)
    monkeypatch.setattr(amemgym_generate, "open_model", lambda name: nullcontext(model))
    return model


def test_users_out_of_the_bank_need_no_model(tmp_path: Path) -> None:
    found = _json("--users", 3, "--out", tmp_path, "--seed", 9)
    expected = generate_users(3, settings=BASE, seed=9)
    items = load_items(tmp_path / "data.json")
    assert items == expected
    require_valid(items, tmp_path / "data.json")
    assert [item.id for item in convert(tmp_path / "raw").items] == [item.id for item in expected]
    assert (found["users"], found["wanted"], found["failed"], found["violations"]) == (3, 3, {}, [])
    assert found["questions"] == 30
    assert found["options"] == sum(len(one.answer_choices) for item in expected for one in item.qas)
    text, _ = _run("--users", 3, "--out", tmp_path, "--seed", 9)
    assert "0 of 3 users failed, 0 rules broken" in text


def test_a_preset_gives_the_number_of_users(tmp_path: Path) -> None:
    assert _json("--out", tmp_path)["users"] == BASE.num_user_profiles


def test_a_model_writes_users_and_says_what_they_cost(tmp_path: Path, writer: GoodWriter) -> None:
    found = _json("--users", 2, "--out", tmp_path, "--model", "any", "--concurrency", 2)
    items = load_items(tmp_path / "data.json")
    require_valid(items, "data.json")
    assert found["calls"] == found["paid_now"] == writer.steps.total() == sum(generation_calls(item) for item in items)
    assert (found["users"], found["retries"], found["repairs"], found["violations"]) == (2, 0, 0, [])
    assert found["text_in"] > 100_000
    assert [one["calls"] for one in found["each"]] == [generation_calls(item) for item in items]


def test_a_stopped_command_goes_on_and_pays_no_call_twice(tmp_path: Path, writer: GoodWriter) -> None:
    whole = _json("--users", 2, "--out", tmp_path / "whole", "--model", "any")
    paid = writer.steps.total()
    say = writer.say

    def broken(form: str, given: dict[str, Any], request: Request) -> str:
        if writer.steps.total() == paid + 100:
            raise RuntimeError("the plug was pulled")
        return say(form, given, request)

    writer.say = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="plug"):
        _run("--users", 2, "--out", tmp_path / "made", "--model", "any", "--concurrency", 1)
    writer.say = say  # type: ignore[method-assign]
    stored = writer.steps.total() - paid - 1
    assert 99 <= stored < whole["calls"]
    again = _json("--users", 2, "--out", tmp_path / "made", "--model", "any")
    assert again["paid_now"] == whole["calls"] - stored
    assert again["calls"] == whole["calls"]
    assert (tmp_path / "made/data.json").read_bytes() == (tmp_path / "whole/data.json").read_bytes()
    assert _json("--users", 2, "--out", tmp_path / "made", "--model", "any")["paid_now"] == 0


def test_a_failed_user_is_told_on_both_streams(tmp_path: Path, writer: GoodWriter) -> None:
    say, seen = writer.say, list[str]()

    def refuses(form: str, given: dict[str, Any], request: Request) -> str:
        seen.append(str(given.get("profile")))
        return "no" if form == "MergedAnswer" and given["profile"] == seen[1] else say(form, given, request)

    writer.say = refuses  # type: ignore[method-assign]
    text, beside = _run("--users", 2, "--out", tmp_path, "--model", "any", "--concurrency", 1)
    assert "1 of 2 users failed" in text
    assert "merging of variables: the model gave no usable `MergedAnswer` in 5 tries" in text
    assert "failed: merging of variables" in beside
    assert "is done (after" in beside
    assert len(load_items(tmp_path / "data.json")) == 1


def test_when_no_user_comes_out_the_command_fails(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none of the 2 users could be written"):
        _run("--users", 2, "--out", tmp_path, "--model", "garbage")


def test_a_dry_run_loads_no_model_and_writes_nothing(tmp_path: Path) -> None:
    found = _json("--users", 2, "--out", tmp_path / "none", "--model", "openai:any", "--dry-run")
    assert (found["users"], found["dry_run"]) == (2, True)
    assert found["calls"] > 280
    assert found["text_in"] > 5 * found["text_out"] > 50_000
    assert not (tmp_path / "none").exists()
    assert _json("--users", 2, "--out", tmp_path / "none", "--dry-run")["calls"] == 0


def test_a_file_of_personas_says_who_the_users_are(tmp_path: Path, writer: GoodWriter) -> None:
    basic = {"sex": "Male", "marital_status": "widowed", "education_level": "graduate", "occupation": "surveyor"}
    rows = [{"uuid": f"p{number}", "age": 30 + number, **basic} for number in range(3)]
    (tmp_path / "people.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    place = ("--users", 2, "--out", tmp_path / "made", "--model", "any", "--persona", tmp_path / "people.jsonl")
    assert _json(*place)["users"] == 2
    items = load_items(tmp_path / "made/data.json")
    assert {item.id for item in items} < {"p0", "p1", "p2"}
    assert all(item.user_profile.age == 30 + int(item.id[1]) for item in items)


def test_personas_need_a_model_and_numbers_have_bounds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--persona is for a model"):
        _run("--out", tmp_path, "--persona", tmp_path / "none.json")
    with pytest.raises(InputError, match="-1 users"):
        _run("--out", tmp_path, "--users", -1)
    with pytest.raises(InputError, match="1 or more, not 0"):
        _run("--out", tmp_path, "--model", "fake", "--concurrency", 0)
