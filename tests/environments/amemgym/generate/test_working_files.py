"""Working files become the environment file that the official conversion would make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.synthetic_users import official_item, write_raw

from memagent.environments.amemgym.generate.working_files import convert, convert_user
from memagent.environments.amemgym.validate import check_items
from memagent.errors import InputError


def test_converted_items_equal_the_official_ones(tmp_path: Path) -> None:
    files = write_raw(tmp_path / "raw")
    found = convert(tmp_path / "raw")
    assert [item.model_dump(mode="json") for item in found.items] == [official_item(one) for one in files]
    assert found.dropped == {}
    assert check_items(found.items) == []
    assert convert(tmp_path) == found  # the folder above will do


def test_nulls_counts_and_labels(tmp_path: Path) -> None:
    (files,) = write_raw(tmp_path / "raw", users=1)
    (item,) = convert(tmp_path / "raw").items
    first = item.periods[0]
    assert (first.period_start, first.period_summary, first.period_end) == (None, None, item.start_time)
    assert {session.event for session in first.sessions} == {None}
    assert {update.old for update in first.updates.values()} == {None}
    assert first.updates.keys() == item.state_schema.keys()
    assert [period.update_cnts for period in item.periods] == [files["state_transition"]["update_cnts"]] * len(item.periods)
    assert {choice.type for question in item.qas for choice in question.answer_choices} == {"experience", "random"}
    assert [session.event for session in item.periods[1].sessions] == [
        one["event"] for one in files["state_transition"]["updates"][1]["events"]
    ]


def test_users_come_in_the_order_of_the_profiles(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", users=3)
    (tmp_path / "raw" / "user_profiles.json").write_text(json.dumps([{"uuid": "u2"}, {"uuid": "u0"}]))
    assert [item.id for item in convert(tmp_path / "raw").items] == ["u2", "u0", "u1"]


def test_users_that_fail_are_counted_with_the_reason(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", users=4)
    (tmp_path / "raw" / "u1" / "sessions.json").unlink()
    sessions = json.loads((tmp_path / "raw" / "u2" / "sessions.json").read_text())
    sessions[1].pop()
    (tmp_path / "raw" / "u2" / "sessions.json").write_text(json.dumps(sessions))
    (tmp_path / "raw" / "u3" / "schema.json").write_text('{"v0": "low"}')
    found = convert(tmp_path / "raw")
    assert [item.id for item in found.items] == ["u0"]
    assert "sessions.json of the user is missing" in found.dropped["u1"]
    assert "sessions and events are 3 and 4" in found.dropped["u2"]
    assert "state_schema.v0" in found.dropped["u3"]


@pytest.mark.parametrize(
    ("stage", "content", "message"),
    [
        ("state_transition", {"states": [{}], "updates": [None], "update_cnts": {}}, "equally many"),
        ("state_transition", {}, "KeyError 'states'"),
        ("questions", [], "questions and personalized answers are 0 and 5"),
        ("user_profile", [], "TypeError"),
    ],
)
def test_odd_working_files_are_refused(tmp_path: Path, stage: str, content: object, message: str) -> None:
    write_raw(tmp_path / "raw", users=1)
    (tmp_path / "raw" / "u0" / f"{stage}.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        convert_user(tmp_path / "raw" / "u0")


def test_a_user_without_update_period_is_refused(tmp_path: Path) -> None:
    (files,) = write_raw(tmp_path / "raw", users=1)
    transition = files["state_transition"]
    short = {"states": transition["states"][:1], "updates": [None], "update_cnts": {}}
    (tmp_path / "raw" / "u0" / "state_transition.json").write_text(json.dumps(short))
    (tmp_path / "raw" / "u0" / "sessions.json").write_text(json.dumps(files["sessions"][:1]))
    with pytest.raises(InputError, match="no update period"):
        convert_user(tmp_path / "raw" / "u0")


def test_folders_that_are_none_and_names_that_leave_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        convert(tmp_path / "absent")
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="it has no users"):
        convert(tmp_path / "raw")
    (tmp_path / "raw" / "user_profiles.json").write_text(json.dumps([{"uuid": "../x"}]))
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        convert(tmp_path / "raw")
