"""What users cost when nothing goes wrong: exactly, for a user that is there, and beforehand, by stand-ins out of the bank.

A stand-in has the persona, the schema, the options and the conversations of a procedural user of the same settings; its
prompts are those of a run. Answers that are rejected, texts that are written anew, and a call for values that differ
between questions come on top.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from random import Random

from memagent.environments.amemgym.data import Item, Period
from memagent.environments.amemgym.generate.by_model import prompts
from memagent.environments.amemgym.generate.by_model.personas import drawn_persona
from memagent.environments.amemgym.generate.pipeline import generate_user
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.raw import questions_stage
from memagent_renderers.budget import estimate_tokens

_STAND_INS = 20
"""Users from which more are estimated."""
_Call = tuple[str, object]
"""A prompt and the answer to it."""


@dataclass(frozen=True)
class Estimate:
    """A run beforehand. Tokens are estimated on the high side."""

    users: int
    calls: int
    text_in: int
    text_out: int


def calls_of(item: Item, *, unified: bool = False) -> int:
    """Calls that a user takes when every answer will do (specification, section 2, and a check of each period's events).

    Profile, questions, merging, values if some differ, and the start; changes, events, their check and utterances of each
    period; options of each question; the utterances of the start; a check of each option and each utterance.
    """
    periods, questions = len(item.periods) - 1, len(item.qas)
    checks = sum(len(one.answer_choices) for one in item.qas) + sum(len(one.sessions) for one in item.periods)
    return 3 + unified + 1 + 4 * periods + questions + 1 + checks


def estimate(users: int, *, settings: GeneratorSettings, seed: int | None = None) -> Estimate:
    """Calls and tokens of so many users. Raises `InputError` where the bank cannot make stand-ins."""
    taken = min(users, _STAND_INS)
    calls = [call for index in range(taken) for call in _calls(generate_user(index, settings=settings, seed=seed), settings)]
    share = users / taken if taken else 0.0
    text_in = sum(estimate_tokens(prompt) for prompt, _ in calls)
    text_out = sum(estimate_tokens(json.dumps(answer, ensure_ascii=False)) for _, answer in calls)
    return Estimate(users, round(len(calls) * share), round(text_in * share), round(text_out * share))


def _calls(item: Item, settings: GeneratorSettings) -> Iterator[_Call]:
    told, schema = item.user_profile.formatted_str, item.state_schema
    yield (
        prompts.profile_prompt(drawn_persona(item.id, Random(item.id))),
        {"name": item.user_profile.name, "profile": item.user_profile.complementary_info},
    )
    asked = questions_stage([(one.query, one.required_info) for one in item.qas], schema)
    yield prompts.questions_prompt(told, settings), asked
    yield prompts.merge_prompt(told, asked), {name: [name] for name in schema}
    yield prompts.state_prompt(told, schema, settings), item.periods[0].state
    yield from _course(item, settings)
    yield from _options(item)
    yield from _openings(item)


def _course(item: Item, settings: GeneratorSettings) -> Iterator[_Call]:
    told, schema = item.user_profile.formatted_str, item.state_schema
    earlier: list[Mapping[str, object]] = []
    for number, period in enumerate(item.periods[1:], 1):
        state = item.periods[number - 1].state
        new = {name: update.new for name, update in period.updates.items()}
        bounds = (date.fromisoformat(str(period.period_start)), date.fromisoformat(period.period_end))
        summary = str(period.period_summary)
        prompt = prompts.update_prompt(
            told,
            schema,
            state,
            earlier,
            number=number,
            bounds=bounds,
            count=len(new),
            room=dict.fromkeys(schema, settings.max_changes_per_state),
            must=(),
            settings=settings,
        )
        answer: dict[str, object] = {"period_summary": summary, "updated": new}
        yield prompt, answer
        earlier.append(answer)
        unchanged = {name: value for name, value in state.items() if name not in new}
        events = [{"states": list(one.exposed_states), "event": one.event} for one in period.sessions]
        yield prompts.events_prompt(bounds, summary, _moves(period, list(new), item), unchanged), events
        hints = [{"event": 1, "variable": name, "value": value} for name, value in new.items()]
        yield prompts.hints_prompt([str(one.event) for one in period.sessions], schema), hints


def _options(item: Item) -> Iterator[_Call]:
    for question in item.qas:
        variants = [dict(zip(question.required_info, one.state, strict=True)) for one in question.answer_choices]
        answers = {f"variant_{number}": one.answer for number, one in enumerate(question.answer_choices, 1)}
        yield prompts.options_prompt(question.query, variants), answers
        for answer in answers.values():
            yield prompts.choice_prompt(question.query, answer, variants), {"variant": 1}


def _openings(item: Item) -> Iterator[_Call]:
    told, schema = item.user_profile.formatted_str, item.state_schema
    first, *later = item.periods
    drafts = [{"exposed_states": one.exposed_states, "query": one.query} for one in first.sessions]
    yield prompts.openings_prompt(told, first.state, schema), drafts
    for period in later:
        events = [{"event": one.event, "changes": _moves(period, list(one.exposed_states), item)} for one in period.sessions]
        yield prompts.queries_prompt(told, events, schema), [one.query for one in period.sessions]
    for session in (session for period in item.periods for session in period.sessions):
        yield prompts.told_prompt(session.query, schema), session.exposed_states


def _moves(period: Period, names: list[str], item: Item) -> dict[str, dict[str, object]]:
    """From where to where some variables moved, as prompts show it."""
    return {
        name: {"from": period.updates[name].old, "to": period.updates[name].new, "possible": list(item.state_schema[name])}
        for name in names
    }
