"""From a seed to users, without a model: profile, questions, schema, trajectory, conversations, options.

Every step of a user draws from a generator of its own, seeded by the settings' seed, the user's index and the name of the
step. So a user depends on these alone: any number of users, in any order and on any number of workers, are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from itertools import count
from random import Random

from memagent.environments.amemgym.data import Period, Update, UserItem, UserSession
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.questions import PlannedQuestion, draw_questions, schema_of, with_options
from memagent.environments.amemgym.generate.sessions import (
    TOGETHER,
    TOLD_TOGETHER,
    Phrasebook,
    as_event,
    as_summary,
    session_groups,
)
from memagent.environments.amemgym.generate.templates import TemplateBank, load_bank
from memagent.environments.amemgym.generate.timestamps import period_bounds, session_times
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
    used = settings.seed if seed is None else seed
    said = f"{GENERATOR_VERSION}:{settings.fingerprint()}:{used}:{index}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def generate_user(index: int, *, settings: GeneratorSettings, seed: int | None = None) -> UserItem:
    """One user. The item's extra field `generation` records where it came from, option seeds included."""
    if settings.lang != "en":
        raise InputError(f"the procedural bank speaks en only, not {settings.lang}; set lang to en or generate with a model")
    return _Draft(index, settings, settings.seed if seed is None else seed).item()


class _Draft:
    def __init__(self, index: int, settings: GeneratorSettings, seed: int) -> None:
        self._index, self._settings, self._seed = index, settings, seed
        self._bank: TemplateBank = load_bank()

    def _rng(self, step: str) -> Random:
        return Random(self._seed_of(step))

    def _seed_of(self, step: str) -> str:
        return f"{self._seed}:{self._index}:{step}"

    def item(self) -> UserItem:
        settings = self._settings
        identity = user_id(self._index, settings=settings, seed=self._seed)
        profile = draw_profile(identity, self._rng("profile"))
        asked = draw_questions(self._bank, settings=settings, working=has_job(profile), rng=self._rng("questions"))
        schema = schema_of(asked, self._bank, size=settings.num_choices_per_state, rng=self._rng("schema"))
        domains = {variable: question.domain for question in asked for variable in question.required}
        evolution = evolve(schema, domains, settings=settings, rng=self._rng("evolution"))
        seeds = [self._seed_of(f"options:{place}") for place in range(len(asked))]
        return UserItem.model_validate(
            {
                "id": identity,
                "start_time": settings.start_date.isoformat(),
                "user_profile": profile,
                "state_schema": schema,
                "periods": self._periods(evolution, domains, profile.name.split()[0]),
                "qas": self._options(asked, schema, evolution, seeds),
                "generation": {
                    "version": GENERATOR_VERSION,
                    "settings": settings.fingerprint(),
                    "seed": self._seed,
                    "index": self._index,
                    "changes_over_cap": evolution.over_cap,
                    "option_seeds": seeds,
                },
            }
        )

    def _options(
        self, asked: Sequence[PlannedQuestion], schema: dict[str, tuple[str, ...]], evolution: Trajectory, seeds: Sequence[str]
    ) -> tuple[object, ...]:
        least = self._settings.min_state_variants
        return tuple(
            with_options(one, schema, evolution.states, bank=self._bank, least=least, rng=Random(seed))
            for one, seed in zip(asked, seeds, strict=True)
        )

    def _periods(self, evolution: Trajectory, domains: dict[str, str], name: str) -> tuple[Period, ...]:
        model, rng, clock = Phrasebook(self._bank, self._rng("words")), self._rng("sessions"), self._rng("times")
        start, months = self._settings.start_date, self._settings.num_months_per_period
        periods = [self._first(evolution, model, session_groups(list(domains), domains, rng, together=TOLD_TOGETHER), clock)]
        for number in range(1, len(evolution.states)):
            groups = session_groups(evolution.changed[number], domains, rng, together=TOGETHER)
            bounds = period_bounds(start, number, months)
            periods.append(self._later(number, evolution, model, groups, bounds, name, clock))
        return tuple(periods)

    def _first(self, evolution: Trajectory, model: Phrasebook, groups: list[list[str]], clock: Random) -> Period:
        state, start = evolution.states[0], self._settings.start_date
        told = [{variable: state[variable] for variable in group} for group in groups]
        times = session_times(len(told), start, clock)
        return Period(
            period_end=start.isoformat(),
            sessions=tuple(
                UserSession(exposed_states=exposed, query=model.opening(exposed), session_time=time)
                for exposed, time in zip(told, times, strict=True)
            ),
            state=state,
            updates={variable: Update(old=None, new=value) for variable, value in state.items()},
            update_cnts=evolution.counts,
        )

    def _later(
        self,
        number: int,
        evolution: Trajectory,
        model: Phrasebook,
        groups: list[list[str]],
        bounds: tuple[date, date],
        name: str,
        clock: Random,
    ) -> Period:
        before, state = evolution.states[number - 1], evolution.states[number]
        start, end = bounds
        events = [[model.event(variable, before[variable], state[variable]) for variable in group] for group in groups]
        told = [{variable: state[variable] for variable in group} for group in groups]
        times = session_times(len(told), end, clock, start=start)
        return Period(
            period_start=start.isoformat(),
            period_end=end.isoformat(),
            period_summary=as_summary(name, [event for group in events for event in group]),
            sessions=tuple(
                UserSession(
                    event=as_event(happened), exposed_states=exposed, query=model.news(exposed, happened), session_time=time
                )
                for exposed, happened, time in zip(told, events, times, strict=True)
            ),
            state=state,
            updates={one: Update(old=before[one], new=state[one]) for one in evolution.changed[number]},
            update_cnts=evolution.counts,
        )
