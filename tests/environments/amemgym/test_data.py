"""Environment files: read and written unchanged, and eleven rules with a fixture that breaks each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.synthetic_users import made_items
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.environments.amemgym.data import UserItem, golden_index, load_items, save_items
from memagent.environments.amemgym.validate import RULES, check_items, require_valid
from memagent.errors import InputError

Json = dict[str, Any]


def _raw(users: int = 2) -> list[Json]:
    return [item.model_dump(mode="json") for item in made_items(users)]


def _write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), "utf-8")
    return path


def test_a_data_file_is_written_back_as_it_was(tmp_path: Path) -> None:
    raw = _raw()
    raw[0]["note"] = {"deep": [1, None, "é"]}
    raw[0]["periods"][1]["sessions"][0]["mood"] = "calm"
    raw[1]["qas"][0]["answer_choices"][0]["weight"] = 0.5
    raw[1]["user_profile"]["city"] = "Győr"
    path = _write(tmp_path / "data.json", raw)
    items = load_items(path)
    require_valid(items, path)
    save_items(items, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text("utf-8")) == raw
    assert "Győr" in (tmp_path / "again.json").read_text("utf-8")
    assert load_items(tmp_path / "again.json") == items


def test_official_order_and_layout_give_the_same_bytes(tmp_path: Path) -> None:
    path = _write(tmp_path / "data.json", _raw())
    save_items(load_items(path), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["again.json", "data.json"]


def test_a_file_cut_down_to_what_evaluators_need_is_read(tmp_path: Path) -> None:
    raw = _raw(1)
    for period in raw[0]["periods"]:
        for name in ("period_start", "period_summary", "update_cnts"):
            del period[name]
        for session in period["sessions"]:
            del session["messages"], session["event"], session["exposed_states"]
    raw[0]["user_profile"] = {"uuid": "u0", "formatted_str": "name: Ines"}
    assert load_items(_write(tmp_path / "data.json", raw))[0].periods[0].sessions[0].messages == ()


def test_files_of_another_form_are_refused_with_the_place(tmp_path: Path) -> None:
    raw = _raw()
    raw[1]["periods"][2]["state"]["v0"] = 3
    del raw[0]["qas"][1]["query"]
    with pytest.raises(InputError, match=r"0\.qas\.1\.query: Field required; 1\.periods\.2\.state\.v0"):
        load_items(_write(tmp_path / "data.json", raw))
    with pytest.raises(InputError, match="cannot be read"):
        load_items(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("[{")
    with pytest.raises(InputError, match=r"broken\.json is no AMemGym data file: the whole: Invalid JSON"):
        load_items(tmp_path / "broken.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_items(made_items(1), tmp_path / "data.json")
    before = (tmp_path / "data.json").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_items(made_items(2), tmp_path / "data.json")
    assert (tmp_path / "data.json").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["data.json"]


def test_golden_index_is_the_first_option_that_suits() -> None:
    (item,) = made_items(1)
    for period in item.periods:
        for question in item.qas:
            found = golden_index(question, period.state)
            assert found is not None
            assert question.answer_choices[found].state == tuple(period.state[name] for name in question.required_info)
    assert golden_index(item.qas[0], {}) is None


# -- the rules --------------------------------------------------------------------------------------------------------


def _without_the_option_of_the_start(user: Json) -> None:
    question, state = user["qas"][3], user["periods"][0]["state"]
    question["answer_choices"] = [one for one in question["answer_choices"] if one["state"] != [state["v6"], state["v7"]]]


def _of_the_other_type(option: Json) -> None:
    option["type"] = "random" if option["type"] == "experience" else "experience"


BREACHES: dict[str, tuple[Callable[[Json], object], int | None, int | None]] = {
    "I1": (lambda user: user["periods"][2]["state"].update(v0="else"), 2, None),
    "I2": (lambda user: next(iter(user["periods"][2]["updates"].values())).update(old="else"), 2, None),
    "I3": (lambda user: user["periods"][0]["updates"].pop("v3"), 0, None),
    "I4": (lambda user: user["periods"][2]["sessions"][0].update(exposed_states={}), 2, None),
    "I5": (lambda user: user["qas"][3].update(required_info=["v6", "v6"]), None, 3),
    "I6": (lambda user: user["qas"][3]["answer_choices"].append(user["qas"][3]["answer_choices"][0]), None, 3),
    "I7": (_without_the_option_of_the_start, 0, 3),
    "I8": (lambda user: user["periods"][2]["sessions"][1].update(session_time="1999-01-01 20:00:00"), 2, None),
    "I9": (lambda user: user["qas"].pop(), None, None),
    "I10": (lambda user: _of_the_other_type(user["qas"][3]["answer_choices"][0]), None, 3),
    "I11": (lambda user: user["periods"][2]["update_cnts"].update(v0=99), 2, None),
}
"""What spoils a user, and where the breach is found: period and question."""


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_checked_and_its_breach_placed(rule: str, tmp_path: Path) -> None:
    breach, period, question = BREACHES[rule]
    raw = json.loads(json.dumps(_raw(3)))
    breach(raw[1])
    path = _write(tmp_path / "data.json", raw)
    items = load_items(path)  # what is broken can still be looked at
    found = [one for one in check_items(items) if one.rule == rule]
    assert [(one.user, one.period, one.question) for one in found[:1]] == [("u1", period, question)]
    said = str(found[0])
    assert said.startswith(f"{rule} user u1")
    assert period is None or f"period {period}" in said
    assert question is None or f"question {question}" in said
    with pytest.raises(InputError, match=rf"breaks \d+ rules: .*{rule} user u1"):
        require_valid(load_items(path), path)


def test_made_data_break_no_rule() -> None:
    assert check_items(made_items(4)) == []
    assert check_items([]) == []


def test_a_variable_or_time_of_another_form_is_a_breach_not_a_crash() -> None:
    raw = json.loads(json.dumps(_raw(1)))
    raw[0]["periods"][1]["sessions"][0]["session_time"] = "yesterday"
    raw[0]["periods"][1]["state"] = {}
    raw[0]["qas"][0]["required_info"] = ["nope"]
    rules = {one.rule for one in check_items([UserItem.model_validate(one) for one in raw])}
    assert {"I1", "I2", "I5", "I7", "I8", "I10"} <= rules
    raw[0]["periods"] = []
    assert "there is no period 0" in str(check_items([UserItem.model_validate(one) for one in raw])[0])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), users=st.integers(1, 3))
def test_any_made_user_round_trips(seed: int, users: int) -> None:
    items = made_items(users, seed=seed)
    assert check_items(items) == []
    assert [UserItem.model_validate(json.loads(item.model_dump_json())) for item in items] == items


def test_written_at_is_the_last_change() -> None:
    (item,) = made_items(1)
    for variable in item.state_schema:
        for p in range(len(item.periods)):
            at = item.written_at(variable, p)
            assert at <= p
            assert at == 0 or variable in item.periods[at].updates
            assert all(variable not in item.periods[k].updates for k in range(at + 1, p + 1))
