"""The generator's working files of a user, as the official code writes them, so that its tools can take over.

`convert` makes the same item of them, apart from the extra field `generation`, which only `item.json` holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memagent.environments.amemgym.convert import PROFILES
from memagent.environments.amemgym.data import Item, Period, write_json


def write_raw(items: Sequence[Item] | Item, folder: str | Path) -> None:
    """Write `user_profiles.json` and a folder of stages for each user."""
    users = [items] if isinstance(items, Item) else list(items)
    root = Path(folder)
    for item in users:
        for stage, content in _stages(item).items():
            write_json(content, root / item.id / f"{stage}.json")
    write_json([item.user_profile.model_dump(mode="json") for item in users], root / PROFILES)


def _stages(item: Item) -> dict[str, object]:
    return {
        "user_profile": item.user_profile.model_dump(mode="json"),
        "schema": {variable: list(values) for variable, values in item.state_schema.items()},
        "questions": [
            {
                "question": one.query,
                "required_info": [
                    {"info_type": name, "info_choices": list(item.state_schema[name])} for name in one.required_info
                ],
            }
            for one in item.qas
        ],
        "state_transition": {
            "states": [period.state for period in item.periods],
            "updates": [None, *(_update(period) for period in item.periods[1:])],
            "update_cnts": item.periods[0].update_cnts,
        },
        "personalized_answers": [
            [{"variant": list(choice.state), "answer": choice.answer} for choice in one.answer_choices] for one in item.qas
        ],
        "sessions": [
            [
                {"query": one.query, "exposed_states": one.exposed_states, "timestamp": one.session_time}
                for one in period.sessions
            ]
            for period in item.periods
        ],
        "item": item.model_dump(mode="json"),
    }


def _update(period: Period) -> dict[str, object]:
    return {
        "period_summary": period.period_summary,
        "updated": {variable: update.new for variable, update in period.updates.items()},
        "period_start": period.period_start,
        "period_end": period.period_end,
        "old": {variable: update.old for variable, update in period.updates.items()},
        "events": [{"states": list(one.exposed_states), "event": one.event} for one in period.sessions],
    }
