"""From the generator's working files to the environment file.

`raw/<user>/` holds one file a stage: profile, schema, questions, state transitions, option answers and sessions. The item
joins them: the period 0 lists every variable as an update from nothing and has no start, summary or events; query k of a
later period belongs to its event k; `update_cnts`, the totals, stand in every period; an option is of the type
`experience` when some period has its values. Where the lists to be joined are of unequal lengths the official code drops
the rest without a word; here the user fails, and every user that fails is reported with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.official_format import read_json
from memagent.errors import InputError

PROFILES = "user_profiles.json"
STAGES = ("user_profile", "schema", "questions", "state_transition", "personalized_answers", "sessions")
"""The files of one user, without their suffix."""

Raw = dict[str, Any]


@dataclass(frozen=True)
class Conversion:
    """The users that could be converted, and why others could not."""

    items: list[UserItem]
    dropped: dict[str, str]
    """User to reason."""


def convert(raw: str | Path) -> Conversion:
    """Convert a `raw` folder, or the one that holds it; users in the order of its `user_profiles.json`, else of their names."""
    folder = Path(raw) / "raw" if (Path(raw) / "raw").is_dir() else Path(raw)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder raw that holds one folder for each user")
    items: list[UserItem] = []
    dropped: dict[str, str] = {}
    for user in _users(folder):
        try:
            items.append(convert_user(folder / user))
        except InputError as error:
            dropped[user] = str(error)
    if not items:
        reasons = "; ".join(f"{user}: {reason}" for user, reason in list(dropped.items())[:3]) or "it has no users"
        raise InputError(f"nothing in {folder} can be converted: {reasons}")
    return Conversion(items, dropped)


def convert_user(folder: Path) -> UserItem:
    """The item of one user's working files. Raises `InputError`."""
    if absent := [f"{stage}.json" for stage in STAGES if not (folder / f"{stage}.json").is_file()]:
        raise InputError(f"{', '.join(absent)} of the user is missing; generate it first")
    stages = {stage: read_json(folder / f"{stage}.json") for stage in STAGES}
    try:
        return UserItem.model_validate(_item(stages))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"the working files have another form than expected: {type(error).__name__} {error}") from error


def _users(folder: Path) -> list[str]:
    found = sorted(one.name for one in folder.iterdir() if one.is_dir())
    if not (folder / PROFILES).is_file():
        return found
    profiles = read_json(folder / PROFILES)
    if not isinstance(profiles, list) or not all(
        isinstance(one, dict) and isinstance(one.get("uuid"), str) for one in profiles
    ):
        raise InputError(f"{folder / PROFILES} is no list of profiles with a uuid")
    listed = [one["uuid"] for one in profiles]
    if outside := [user for user in listed if Path(user).name != user]:
        raise InputError(f"{folder / PROFILES}: {outside[0]!r} cannot be the name of a folder")
    return [*listed, *(user for user in found if user not in listed)]


def _item(stages: Mapping[str, Any]) -> Raw:
    transition, sessions = stages["state_transition"], stages["sessions"]
    states, updates = transition["states"], transition["updates"]
    _even("states, updates and sessions", states, updates, sessions)
    if len(updates) < 2:
        raise InputError("there is no update period, so the start is unknown")
    start = updates[1]["period_start"]
    periods = [_first(states[0], sessions[0], start)]
    periods += [_later(*parts) for parts in zip(states[1:], updates[1:], sessions[1:], strict=True)]
    return {
        "id": stages["user_profile"]["uuid"],
        "start_time": start,
        "user_profile": stages["user_profile"],
        "state_schema": stages["schema"],
        "periods": [{**period, "update_cnts": transition["update_cnts"]} for period in periods],
        "qas": _questions(stages["questions"], stages["personalized_answers"], states),
    }


def _first(state: Raw, sessions: list[Raw], start: str) -> Raw:
    return {
        "period_start": None,
        "period_end": start,
        "period_summary": None,
        "sessions": [_session(session, None) for session in sessions],
        "state": state,
        "updates": {variable: {"old": None, "new": value} for variable, value in state.items()},
    }


def _later(state: Raw, update: Raw, sessions: list[Raw]) -> Raw:
    _even("sessions and events", sessions, update["events"])
    return {
        "period_start": update["period_start"],
        "period_end": update["period_end"],
        "period_summary": update["period_summary"],
        "sessions": [_session(one, event["event"]) for one, event in zip(sessions, update["events"], strict=True)],
        "state": state,
        "updates": {variable: {"old": update["old"][variable], "new": new} for variable, new in update["updated"].items()},
    }


def _session(session: Raw, event: str | None) -> Raw:
    return {
        "event": event,
        "exposed_states": session["exposed_states"],
        "query": session["query"],
        "messages": session.get("messages", []),
        "session_time": session["timestamp"],
    }


def _questions(questions: list[Raw], answers: list[list[Raw]], states: list[Raw]) -> list[Raw]:
    _even("questions and personalized answers", questions, answers)
    found = []
    for question, options in zip(questions, answers, strict=True):
        required = [one["info_type"] for one in question["required_info"]]
        lived = {tuple(state[variable] for variable in required) for state in states}
        choices = [
            {
                "state": option["variant"],
                "answer": option["answer"],
                "type": "experience" if tuple(option["variant"]) in lived else "random",
            }
            for option in options
        ]
        found.append({"query": question["question"], "required_info": required, "answer_choices": choices})
    return found


def _even(what: str, *lists: list[Any]) -> None:
    sizes = [len(one) for one in lists]
    if len(set(sizes)) > 1:
        raise InputError(f"{what} are {' and '.join(map(str, sizes))} in number; they must be equally many")
