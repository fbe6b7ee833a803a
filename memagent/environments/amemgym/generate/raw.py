"""The generator's working files of a user, as the official code writes them, so that its tools can take over.

`convert` makes the same item of them, apart from the extra field `generation`, which only `item.json` holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from memagent.environments.amemgym.convert import PROFILES, STAGES
from memagent.environments.amemgym.data import Period, UserItem, UserProfile, write_json
from memagent.errors import InputError

ITEM = "item"
"""The stage that all others end in."""


def write_raw(items: Sequence[UserItem] | UserItem, folder: str | Path) -> None:
    """Write `user_profiles.json` and a folder of stages for each user."""
    users = [items] if isinstance(items, UserItem) else list(items)
    root = Path(folder)
    for item in users:
        for stage, content in _stages(item).items():
            write_stage(content, root / item.id, stage)
    write_profiles([item.user_profile for item in users], root)


def write_profiles(profiles: Sequence[UserProfile], root: Path) -> None:
    write_json([one.model_dump(mode="json") for one in profiles], root / PROFILES)


def write_stage(content: object, folder: Path, stage: str) -> None:
    write_json(content, folder / f"{stage}.json")


def claim(root: Path, users: Sequence[str]) -> None:
    """Raise `InputError` when a raw folder holds users other than these: `convert` would take all of them."""
    others = sorted({one.name for one in root.iterdir() if one.is_dir()} - set(users)) if root.is_dir() else []
    if others:
        raise InputError(
            f"{root} holds {len(others)} users that this run does not make, such as {others[0]}; give another folder"
        )


def clear_stages(folder: Path) -> None:
    """Remove a user's stages, so that none of another run stays among new ones."""
    for stage in (*STAGES, ITEM):
        (folder / f"{stage}.json").unlink(missing_ok=True)


# -- shapes -----------------------------------------------------------------------------------------------------------


def questions_stage(asked: Iterable[tuple[str, Sequence[str]]], schema: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    return [
        {
            "question": query,
            "required_info": [{"info_type": name, "info_choices": list(schema[name])} for name in required],
        }
        for query, required in asked
    ]


def update_stage(
    *,
    summary: str | None,
    start: str | None,
    end: str,
    old: Mapping[str, str | None],
    new: Mapping[str, str],
    events: Iterable[tuple[Sequence[str], str | None]],
) -> dict[str, object]:
    return {
        "period_summary": summary,
        "updated": dict(new),
        "period_start": start,
        "period_end": end,
        "old": dict(old),
        "events": [{"states": list(variables), "event": event} for variables, event in events],
    }


def transition_stage(
    states: Sequence[Mapping[str, str]], updates: Iterable[dict[str, object]], counts: Mapping[str, int]
) -> dict[str, object]:
    """All states, the updates that led to them, and the totals of changes."""
    return {"states": [dict(one) for one in states], "updates": [None, *updates], "update_cnts": dict(counts)}


def options_stage(options: Iterable[Iterable[tuple[Sequence[str], str]]]) -> list[list[dict[str, object]]]:
    return [[{"variant": list(variant), "answer": answer} for variant, answer in question] for question in options]


def sessions_stage(periods: Iterable[Iterable[tuple[str, Mapping[str, str], str]]]) -> list[list[dict[str, object]]]:
    """Utterances with what they expose and their times, for each period."""
    return [
        [{"query": query, "exposed_states": dict(exposed), "timestamp": time} for query, exposed, time in sessions]
        for sessions in periods
    ]


def _stages(item: UserItem) -> dict[str, object]:
    return {
        "user_profile": item.user_profile.model_dump(mode="json"),
        "schema": {variable: list(values) for variable, values in item.state_schema.items()},
        "questions": questions_stage([(one.query, one.required_info) for one in item.qas], item.state_schema),
        "state_transition": transition_stage(
            [period.state for period in item.periods],
            [_update(period) for period in item.periods[1:]],
            item.periods[0].update_cnts,
        ),
        "personalized_answers": options_stage(
            [[(choice.state, choice.answer) for choice in one.answer_choices] for one in item.qas]
        ),
        "sessions": sessions_stage(
            [[(one.query, one.exposed_states, one.session_time) for one in period.sessions] for period in item.periods]
        ),
        ITEM: item.model_dump(mode="json"),
    }


def _update(period: Period) -> dict[str, object]:
    return update_stage(
        summary=period.period_summary,
        start=period.period_start,
        end=period.period_end,
        old={variable: update.old for variable, update in period.updates.items()},
        new={variable: update.new for variable, update in period.updates.items()},
        events=[(list(one.exposed_states), one.event) for one in period.sessions],
    )
