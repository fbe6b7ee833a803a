"""From a seed to users, without a model: profile, questions, schema, trajectory, conversations, options.

Every step of a user draws from a generator of its own, seeded by the settings' seed, the user's index and the name of the
step. So a user depends on these alone: any number of users, in any order and on any number of workers, are the same.
"""

from __future__ import annotations

import hashlib
from itertools import count
from random import Random
from typing import NamedTuple

from memagent.environments.amemgym.data import Period, Update, UserItem, UserSession
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.questions import draw_questions, schema_of, with_options
from memagent.environments.amemgym.generate.sessions import (
    TOGETHER,
    TOLD_TOGETHER,
    Phrasebook,
    as_event,
    as_summary,
    period_bounds,
    session_groups,
    session_times,
)
from memagent.environments.amemgym.generate.templates import load_bank
from memagent.environments.amemgym.generate.trajectory import Trajectory, evolve
from memagent.environments.amemgym.generate.users import draw_profile, has_job
from memagent.errors import InputError

GENERATOR_VERSION = 1
"""Changes when the same seed gives other users."""


def generate_users(n: int | None = None, *, settings: GeneratorSettings, seed: int | None = None) -> list[UserItem]:
    """The first users of a seed, without the excluded ones. Numbers not given are those of the settings."""
    wanted = settings.num_user_profiles if n is None else n
    if wanted < 0:
        raise InputError(f"{wanted} users cannot be generated; give 0 or more")
    found: list[UserItem] = []
    for index in count():
        if len(found) == wanted:
            break
        if user_id(index, settings=settings, seed=seed) not in settings.exclude_ids:
            found.append(generate_user(index, settings=settings, seed=seed))
    return found


def user_id(index: int, *, settings: GeneratorSettings, seed: int | None = None) -> str:
    """32 hexadecimal digits, of the settings, the seed and the index."""
    used = settings.seed if seed is None else seed
    said = f"{GENERATOR_VERSION}:{settings.fingerprint()}:{used}:{index}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def generate_user(index: int, *, settings: GeneratorSettings, seed: int | None = None) -> UserItem:
    """One user. The item's extra field `generation` records where it came from, option seeds included.

    Raises `InputError` for a language that the bank does not speak, and where it has not enough questions.
    """
    if settings.lang != "en":
        raise InputError(f"the procedural bank speaks en only, not {settings.lang}; set lang to en or generate with a model")
    used, bank = settings.seed if seed is None else seed, load_bank()

    def rng(step: str) -> Random:
        return Random(f"{used}:{index}:{step}")

    identity = user_id(index, settings=settings, seed=seed)
    profile = draw_profile(identity, rng("profile"))
    asked = draw_questions(bank, settings=settings, working=has_job(profile), rng=rng("questions"))
    schema = schema_of(asked, bank, size=settings.num_choices_per_state, rng=rng("schema"))
    domains = {variable: question.domain for question in asked for variable in question.required}
    evolution = evolve(schema, domains, settings=settings, rng=rng("evolution"))
    drawn, words = rng("sessions"), _Words(Phrasebook(bank, rng("words")), rng("times"), profile.name.split()[0])
    groups = [session_groups(list(domains), domains, drawn, together=TOLD_TOGETHER)]
    groups += [session_groups(changed, domains, drawn, together=TOGETHER) for changed in evolution.changed[1:]]
    seeds = [f"{used}:{index}:options:{place}" for place in range(len(asked))]
    least = settings.min_state_variants
    return UserItem.model_validate(
        {
            "id": identity,
            "start_time": settings.start_date.isoformat(),
            "user_profile": profile,
            "state_schema": schema,
            "periods": [_period(number, evolution, told, words, settings) for number, told in enumerate(groups)],
            "qas": [
                with_options(one, schema, evolution.states, bank=bank, least=least, rng=Random(option_seed))
                for one, option_seed in zip(asked, seeds, strict=True)
            ],
            "generation": {
                "version": GENERATOR_VERSION,
                "settings": settings.fingerprint(),
                "seed": used,
                "index": index,
                "changes_over_cap": evolution.over_cap,
                "option_seeds": seeds,
            },
        }
    )


class _Words(NamedTuple):
    phrases: Phrasebook
    clock: Random
    name: str


def _period(number: int, evolution: Trajectory, groups: list[list[str]], words: _Words, settings: GeneratorSettings) -> Period:
    """A period whose conversations tell the variables of `groups`; the first one is the moment of the start."""
    state, before = evolution.states[number], evolution.states[number - 1] if number else {}
    start, end = None, settings.start_date
    if number:
        start, end = period_bounds(settings.start_date, number, settings.num_months_per_period)
    events = [[words.phrases.event(one, before[one], state[one]) for one in group] for group in groups if number]
    told = [{variable: state[variable] for variable in group} for group in groups]
    times = session_times(len(told), end, words.clock, start=start)
    sessions = []
    for place, (exposed, time) in enumerate(zip(told, times, strict=True)):
        query = words.phrases.news(exposed, events[place]) if number else words.phrases.opening(exposed)
        event = as_event(events[place]) if number else None
        sessions.append(UserSession(event=event, exposed_states=exposed, query=query, session_time=time))
    return Period(
        period_start=start.isoformat() if start else None,
        period_end=end.isoformat(),
        period_summary=as_summary(words.name, [event for group in events for event in group]) if number else None,
        sessions=tuple(sessions),
        state=state,
        updates={one: Update(old=before.get(one), new=state[one]) for one in (evolution.changed[number] if number else state)},
        update_cnts=evolution.counts,
    )
