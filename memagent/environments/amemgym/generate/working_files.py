"""The generator's working files of a user, as the official code writes them, and the environment file that is made of them.

`raw/<user>/` holds one file a stage: profile, schema, questions, state transitions, option answers and sessions; `item.json`
besides is ours. The item joins them: the period 0 lists every variable as an update from nothing and has no start, summary or
events; query k of a later period belongs to its event k; `update_cnts`, the totals, stand in every period; an option is of the
type `experience` when some period has its values. Where the lists to be joined are of unequal lengths the official code drops
the rest without a word; here the user fails, and every user that fails is reported with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from memagent.environments.amemgym.data import UserItem, read_json, write_json, wrong_places
from memagent.errors import InputError

PROFILES = "user_profiles.json"
STAGES = ("user_profile", "schema", "questions", "state_transition", "personalized_answers", "sessions")
"""The files of one user, without their suffix."""

Raw = dict[str, Any]
State = dict[str, str]
Schema = Mapping[str, Sequence[str]]


# -- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PeriodChange:
    """One period: what became of some values, and what happened."""

    bounds: tuple[date, date]
    summary: str
    old: State
    new: State
    events: tuple[tuple[tuple[str, ...], str], ...] = ()
    """Variables with the event that changed them."""

    @property
    def stage(self) -> Raw:
        """As the file of state transitions has it."""
        return {
            "period_summary": self.summary,
            "updated": self.new,
            "period_start": self.bounds[0].isoformat(),
            "period_end": self.bounds[1].isoformat(),
            "old": self.old,
            "events": [{"states": list(variables), "event": event} for variables, event in self.events],
        }


def write_raw(items: Sequence[UserItem], root: Path) -> None:
    """Write `user_profiles.json` and a folder of stages for each user, of which `convert` makes the same items again.

    The extra field `generation` is in `item.json` alone.
    """
    for item in items:
        changes = [
            PeriodChange(
                bounds=(date.fromisoformat(one.period_start or ""), date.fromisoformat(one.period_end)),
                summary=one.period_summary or "",
                old={variable: str(update.old) for variable, update in one.updates.items()},
                new={variable: update.new for variable, update in one.updates.items()},
                events=tuple((tuple(session.exposed_states), session.event or "") for session in one.sessions),
            )
            for one in item.periods[1:]
        ]
        write_stages(
            root / item.id,
            user_profile=item.user_profile.model_dump(mode="json"),
            schema=item.state_schema,
            questions=questions_stage([(one.query, one.required_info) for one in item.qas], item.state_schema),
            state_transition=transition_stage([one.state for one in item.periods], changes, item.periods[0].update_cnts),
            personalized_answers=options_stage(
                [[(choice.state, choice.answer) for choice in one.answer_choices] for one in item.qas]
            ),
            sessions=sessions_stage(
                [[(one.query, one.exposed_states, one.session_time) for one in period.sessions] for period in item.periods]
            ),
            item=item.model_dump(mode="json"),
        )
    write_json([item.user_profile.model_dump(mode="json") for item in items], root / PROFILES)


def write_stages(folder: Path, **stages: object) -> None:
    """Write stages of one user, by name."""
    for stage, content in stages.items():
        write_json(content, folder / f"{stage}.json")


def claim(root: Path, users: Sequence[str]) -> None:
    """Raise `InputError` when a raw folder holds users other than these: `convert` would take all of them."""
    others = sorted({one.name for one in root.iterdir() if one.is_dir()} - set(users)) if root.is_dir() else []
    if others:
        raise InputError(
            f"{root} holds {len(others)} users that this run does not make, such as {others[0]}; give another folder"
        )


def questions_stage(asked: Iterable[tuple[str, Sequence[str]]], schema: Schema) -> list[Raw]:
    """Questions with their required variables and the values of each."""
    return [
        {"question": query, "required_info": [{"info_type": one, "info_choices": list(schema[one])} for one in required]}
        for query, required in asked
    ]


def transition_stage(states: Sequence[State], changes: Iterable[PeriodChange], counts: Mapping[str, int]) -> Raw:
    """All states, the updates that led to them, and the totals of changes."""
    return {"states": list(states), "updates": [None, *(one.stage for one in changes)], "update_cnts": dict(counts)}


def options_stage(options: Iterable[Iterable[tuple[Sequence[str], str]]]) -> list[list[Raw]]:
    """Variants and the answers that suit them, for each question."""
    return [[{"variant": list(variant), "answer": answer} for variant, answer in question] for question in options]


def sessions_stage(periods: Iterable[Iterable[tuple[str, State, str]]]) -> list[list[Raw]]:
    """Utterances with what they expose and their times, for each period."""
    return [
        [{"query": query, "exposed_states": exposed, "timestamp": time} for query, exposed, time in sessions]
        for sessions in periods
    ]


# -- converting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conversion:
    """The users that could be converted, and why others could not."""

    items: list[UserItem]
    dropped: dict[str, str]
    """User to reason."""


def convert(raw: str | Path) -> Conversion:
    """Convert a `raw` folder, or the one that holds it; users in the order of its `user_profiles.json`, else of their names.

    Raises `InputError` where no user can be converted.
    """
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
    stages: Raw = {stage: read_json(folder / f"{stage}.json") for stage in STAGES}
    try:
        states = stages["state_transition"]["states"]
        periods = _periods(states, stages["state_transition"], stages["sessions"])
        return UserItem.model_validate(
            {
                "id": stages["user_profile"]["uuid"],
                "start_time": periods[0]["period_end"],
                "user_profile": stages["user_profile"],
                "state_schema": stages["schema"],
                "periods": periods,
                "qas": _questions(stages["questions"], stages["personalized_answers"], states),
            }
        )
    except ValidationError as error:
        raise InputError(wrong_places(error)) from error
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


def _periods(states: list[Raw], transition: Raw, sessions: list[list[Raw]]) -> list[Raw]:
    updates, counts = transition["updates"], transition["update_cnts"]
    _even("states, updates and sessions", states, updates, sessions)
    if len(updates) < 2:
        raise InputError("there is no update period, so the start is unknown")
    told: Raw = {"period_start": None, "period_end": updates[1]["period_start"], "period_summary": None, "updated": states[0]}
    start = {**told, "old": dict.fromkeys(states[0]), "events": [{"event": None} for _ in sessions[0]]}
    found = []
    for state, update, talks in zip(states, [start, *updates[1:]], sessions, strict=True):
        _even("sessions and events", talks, update["events"])
        found.append(
            {
                **{name: update[name] for name in ("period_start", "period_end", "period_summary")},
                "sessions": [
                    {
                        "event": event["event"],
                        "exposed_states": talk["exposed_states"],
                        "query": talk["query"],
                        "messages": talk.get("messages", []),
                        "session_time": talk["timestamp"],
                    }
                    for talk, event in zip(talks, update["events"], strict=True)
                ],
                "state": state,
                "updates": {name: {"old": update["old"][name], "new": new} for name, new in update["updated"].items()},
                "update_cnts": counts,
            }
        )
    return found


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
