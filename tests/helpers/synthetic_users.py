"""Made-up AMemGym users that keep all eleven rules, the working files they would have come from, and replies."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from memagent.environments.amemgym.data import UserItem, golden_index

Json = dict[str, Any]
START = date(2020, 10, 1)


def profile(user: str) -> Json:
    lines = {
        "name": f"Ines Várga {user}",
        "age": 36,
        "gender": "Female",
        "marital_status": "married",
        "education_level": "associates",
        "occupation": "cartographer",
        "hobbies_and_interests": "Chess, Kayaking",
        "skills_and_expertise": "GIS",
        "complementary_info": "Plain-spoken.",
    }
    return {"uuid": user, **lines, "formatted_str": "\n".join(f"{key}: {value}" for key, value in lines.items())}


def working_files(user: str, *, seed: int, periods: int = 4, questions: int = 5, changes: int = 4) -> dict[str, Any]:
    """The six stage files of a user, as the generator leaves them."""
    draw = Random(seed)
    names = [f"v{k}" for k in range(2 * questions)]
    schema = {name: [f"{name}-{level}" for level in ("low", "mid", "high")] for name in names}
    states = [{name: draw.choice(values) for name, values in schema.items()}]
    updates: list[Json | None] = [None]
    counts = dict.fromkeys(names, 0)
    sessions = [
        [_session({name: value}, START - timedelta(days=len(names) - k)) for k, (name, value) in enumerate(states[0].items())]
    ]
    day = START
    for p in range(1, periods + 1):
        updated = {}
        for name in draw.sample(names, changes):
            updated[name] = draw.choice([value for value in schema[name] if value != states[-1][name]])
            counts[name] += 1
        end = START + timedelta(days=90 * p)
        events = [{"states": [name], "event": f"something about {name} in {p}"} for name in updated]
        old = {name: states[-1][name] for name in updated}
        updates.append(
            {
                "period_summary": f"period {p}",
                "updated": updated,
                "period_start": day.isoformat(),
                "period_end": end.isoformat(),
                "old": old,
                "events": events,
            }
        )
        sessions.append(
            [_session({name: new}, end - timedelta(days=changes - k)) for k, (name, new) in enumerate(updated.items())]
        )
        states.append(states[-1] | updated)
        day = end
    asked = [
        {
            "question": f"question {q}?",
            "required_info": [{"info_type": name, "info_choices": schema[name]} for name in names[2 * q : 2 * q + 2]],
        }
        for q in range(questions)
    ]
    return {
        "user_profile": profile(user),
        "schema": schema,
        "questions": asked,
        "state_transition": {"states": states, "updates": updates, "update_cnts": counts},
        "personalized_answers": [_answers(one, states, schema, draw) for one in asked],
        "sessions": sessions,
    }


def _session(exposed: dict[str, str], day: date) -> Json:
    return {"query": f"about {' '.join(exposed.values())}", "exposed_states": exposed, "timestamp": f"{day} 20:01:07"}


def _answers(question: Json, states: list[dict[str, str]], schema: dict[str, list[str]], draw: Random) -> list[Json]:
    first, second = (one["info_type"] for one in question["required_info"])
    variants = list(dict.fromkeys((state[first], state[second]) for state in states))
    rest = [(a, b) for a in schema[first] for b in schema[second] if (a, b) not in variants]
    variants += draw.sample(rest, max(0, 4 - len(variants)))
    draw.shuffle(variants)
    return [{"variant": list(variant), "answer": f"advice for {' and '.join(variant)}"} for variant in variants]


def official_item(files: dict[str, Any]) -> Json:
    """The item that the official conversion makes of working files, written from the format's description alone."""
    states, updates = files["state_transition"]["states"], files["state_transition"]["updates"]
    periods = []
    for p, update in enumerate(updates):
        events = [None] * len(files["sessions"][0]) if p == 0 else [one["event"] for one in update["events"]]
        changed = states[0] if p == 0 else update["updated"]
        periods.append(
            {
                "period_start": None if p == 0 else update["period_start"],
                "period_end": updates[1]["period_start"] if p == 0 else update["period_end"],
                "period_summary": None if p == 0 else update["period_summary"],
                "sessions": [
                    {
                        "event": event,
                        "exposed_states": one["exposed_states"],
                        "query": one["query"],
                        "messages": [],
                        "session_time": one["timestamp"],
                    }
                    for one, event in zip(files["sessions"][p], events, strict=True)
                ],
                "state": states[p],
                "updates": {name: {"old": None if p == 0 else update["old"][name], "new": changed[name]} for name in changed},
                "update_cnts": files["state_transition"]["update_cnts"],
            }
        )
    qas = []
    for question, options in zip(files["questions"], files["personalized_answers"], strict=True):
        names = [one["info_type"] for one in question["required_info"]]
        lived = [[state[name] for name in names] for state in states]
        choices = [
            {"state": one["variant"], "answer": one["answer"], "type": "experience" if one["variant"] in lived else "random"}
            for one in options
        ]
        qas.append({"query": question["question"], "required_info": names, "answer_choices": choices})
    return {
        "id": files["user_profile"]["uuid"],
        "start_time": updates[1]["period_start"],
        "user_profile": files["user_profile"],
        "state_schema": files["schema"],
        "periods": periods,
        "qas": qas,
    }


def made_items(users: int = 3, *, seed: int = 0, periods: int = 4, questions: int = 5) -> list[UserItem]:
    found = [working_files(f"u{k}", seed=1_000 * seed + k, periods=periods, questions=questions) for k in range(users)]
    return [UserItem.model_validate(official_item(one)) for one in found]


def write_raw(folder: Path, users: int = 2) -> list[dict[str, Any]]:
    found = [working_files(f"u{k}", seed=k) for k in range(users)]
    for one in found:
        place = folder / one["user_profile"]["uuid"]
        place.mkdir(parents=True)
        for stage, content in one.items():
            (place / f"{stage}.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return found


def reply(number: object) -> str:
    return f'```json\n{{\n    "answer": {json.dumps(number)}\n}}\n```'


def right(item: UserItem, p: int, q: int) -> int:
    """The golden option, from 0."""
    found = golden_index(item.qas[q], item.periods[p].state)
    assert found is not None
    return found


def record(item: UserItem, p: int, q: int, option: int, *, json_error: bool = False) -> Json:
    """A record of overall results as the released evaluator writes it."""
    choices, golden = item.qas[q].answer_choices, right(item, p, q)
    score = float(choices[option].state == choices[golden].state)
    return {
        "query": item.qas[q].query,
        "answer": golden,
        "answer_state": list(choices[golden].state),
        "answer_choice": choices[golden].answer,
        "raw_response": "hm" if json_error else reply(option + 1),
        "response": option + 1,
        "response_state": list(choices[option].state),
        "response_choice": choices[option].answer,
        "json_error": json_error,
        "llm_usage_statistics": {"input_tokens": 10, "output_tokens": 14, "time_elapsed": 0.5},
        "scores": {"accuracy": score},
    }


def told(item: UserItem, q: int, option: int, *, picks: int) -> Json:
    """A record of the upper bound; its golden number counts from 1."""
    choices = item.qas[q].answer_choices
    return {
        "answer": option + 1,
        "answer_state": list(choices[option].state),
        "raw_response": reply(picks + 1),
        "response": picks + 1,
        "response_state": list(choices[picks].state),
        "json_error": False,
    }


def perfect_utilization(items: list[UserItem]) -> list[Any]:
    return [
        [[told(item, q, k, picks=k) for k in range(len(one.answer_choices))] for q, one in enumerate(item.qas)]
        for item in items
    ]


def chosen(items: list[UserItem], pick: Any) -> dict[str, Any]:
    """Overall results of a policy `pick(item, p, q) -> option`."""
    return {
        item.id: [[record(item, p, q, pick(item, p, q)) for q in range(len(item.qas))] for p in range(len(item.periods))]
        for item in items
    }


def probes(item: UserItem, knows: Any) -> list[Any]:
    """Diagnosis results of an assistant for which `knows(variable, p)` says whether a probe is answered right."""
    return [
        [
            {
                "query": "probe",
                "raw_response": "{}",
                "results": [
                    {
                        "info_type": name,
                        "json_error": False,
                        "answer_state": period.state[name],
                        "response_state": period.state[name] if knows(name, p) else "else",
                        "write_pos": item.written_at(name, p),
                        "read_pos": p,
                        "score": float(knows(name, p)),
                    }
                    for name in question.required_info
                ],
            }
            for question in item.qas
        ]
        for p, period in enumerate(item.periods)
    ]
