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
    with pytest.raises(InputError, match=r"broken\.json is not an AMemGym data file"):
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


def _i1(raw: list[Json]) -> None:
    raw[1]["periods"][2]["state"]["v0"] = "else"


def _i2(raw: list[Json]) -> None:
    update = next(iter(raw[1]["periods"][2]["updates"].values()))
    update["old"] = "else"


def _i3(raw: list[Json]) -> None:
    del raw[1]["periods"][0]["updates"]["v3"]


def _i4(raw: list[Json]) -> None:
    raw[1]["periods"][2]["sessions"][0]["exposed_states"] = {}


def _i5(raw: list[Json]) -> None:
    raw[1]["qas"][3]["required_info"] = ["v6", "v6"]


def _i6(raw: list[Json]) -> None:
    options = raw[1]["qas"][3]["answer_choices"]
    options.append(options[0])


def _i7(raw: list[Json]) -> None:
    options, state = raw[1]["qas"][3]["answer_choices"], raw[1]["periods"][0]["state"]
    options[:] = [one for one in options if one["state"] != [state["v6"], state["v7"]]]


def _i8(raw: list[Json]) -> None:
    raw[1]["periods"][2]["sessions"][1]["session_time"] = "1999-01-01 20:00:00"


def _i9(raw: list[Json]) -> None:
    raw.append(json.loads(json.dumps(raw[0])))
    raw[1]["qas"].pop()


def _i10(raw: list[Json]) -> None:
    option = raw[1]["qas"][3]["answer_choices"][0]
    option["type"] = "random" if option["type"] == "experience" else "experience"


def _i11(raw: list[Json]) -> None:
    raw[1]["periods"][2]["update_cnts"] = {**raw[1]["periods"][2]["update_cnts"], "v0": 99}


BREACHES: dict[str, tuple[Callable[[list[Json]], None], int | None, int | None]] = {
    "I1": (_i1, 2, None),
    "I2": (_i2, 2, None),
    "I3": (_i3, 0, None),
    "I4": (_i4, 2, None),
    "I5": (_i5, None, 3),
    "I6": (_i6, None, 3),
    "I7": (_i7, 0, 3),
    "I8": (_i8, 2, None),
    "I9": (_i9, None, None),
    "I10": (_i10, None, 3),
    "I11": (_i11, 2, None),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_checked_and_its_breach_placed(rule: str, tmp_path: Path) -> None:
    breach, period, question = BREACHES[rule]
    raw = json.loads(json.dumps(_raw()))
    breach(raw)
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
