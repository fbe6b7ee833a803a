"""One user, from a persona to the item: the steps in order, each stage written as soon as it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memagent.environments.amemgym.convert import convert_user
from memagent.environments.amemgym.data import UserItem, UserProfile
from memagent.environments.amemgym.generate.by_model.options import option_seed, write_options
from memagent.environments.amemgym.generate.by_model.personas import Persona
from memagent.environments.amemgym.generate.by_model.prompts import profile_prompt
from memagent.environments.amemgym.generate.by_model.questions import plan_questions
from memagent.environments.amemgym.generate.by_model.response_schemas import ProfileAnswer
from memagent.environments.amemgym.generate.by_model.session_queries import SessionQuery, write_session_queries
from memagent.environments.amemgym.generate.by_model.state_trajectory import (
    PeriodChange,
    StateTrajectory,
    write_events,
    write_trajectory,
)
from memagent.environments.amemgym.generate.by_model.writer import Writer, reject
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.raw import (
    ITEM,
    clear_stages,
    options_stage,
    questions_stage,
    sessions_stage,
    transition_stage,
    update_stage,
    write_stage,
)
from memagent.environments.amemgym.generate.timestamps import session_times
from memagent.environments.amemgym.generate.users import profile_of

MAX_PROFILE_WORDS = 500
"""Words of a portrait stay below this."""


def write_user(
    writer: Writer, persona: Persona, folder: Path, *, settings: GeneratorSettings, provenance: dict[str, object]
) -> UserItem:
    """Write the stages of a user into `folder` and join them. Raises `ModelError` naming the step that failed.

    `provenance` goes into the item's extra field `generation`, with the option seeds and the changes beyond the cap.
    """
    clear_stages(folder)
    profile = write_profile(writer, persona)
    write_stage(profile.model_dump(mode="json"), folder, "user_profile")
    told = profile.formatted_str
    plan = plan_questions(writer, told, settings)
    write_stage(questions_stage(plan.questions, plan.schema), folder, "questions")
    write_stage({name: list(values) for name, values in plan.schema.items()}, folder, "schema")
    course = write_trajectory(writer, told, plan.schema, settings)
    changes = [
        write_events(writer, plan.schema, state, change, number)
        for number, (state, change) in enumerate(zip(course.states, course.changes, strict=False), 1)
    ]
    course = StateTrajectory(course.states, changes, course.counts, course.over_cap)
    updates = [
        update_stage(
            summary=one.summary,
            start=one.bounds[0].isoformat(),
            end=one.bounds[1].isoformat(),
            old=dict(one.old),
            new=one.new,
            events=one.events,
        )
        for one in changes
    ]
    write_stage(transition_stage(course.states, updates, course.counts), folder, "state_transition")
    options = write_options(writer, plan, course.states, least=settings.min_state_variants)
    write_stage(options_stage(options), folder, "personalized_answers")
    queries = write_session_queries(writer, told, plan.schema, course)
    write_stage(sessions_stage(_timed(writer, queries, changes, settings)), folder, "sessions")
    seeds = [writer.seed(option_seed(place)) for place in range(len(options))]
    extra = {**provenance, "changes_over_cap": course.over_cap, "option_seeds": seeds}
    item = UserItem.model_validate({**convert_user(folder).model_dump(mode="json"), "generation": extra})
    write_stage(item.model_dump(mode="json"), folder, ITEM)
    return item


def write_profile(writer: Writer, persona: Persona) -> UserProfile:
    def check(answer: ProfileAnswer) -> None:
        words = len(answer.profile.split())
        reject(
            [] if words < MAX_PROFILE_WORDS else [f"the profile has {words} words, less than {MAX_PROFILE_WORDS} are allowed"]
        )

    answer = writer.ask("profile", profile_prompt(persona), ProfileAnswer, check=check)
    return profile_of(persona.uuid, {"name": answer.name, **persona.fields, "complementary_info": answer.profile})


def _timed(
    writer: Writer, queries: Sequence[Sequence[SessionQuery]], changes: Sequence[PeriodChange], settings: GeneratorSettings
) -> list[list[tuple[str, dict[str, str], str]]]:
    clock = writer.rng("times")
    times = [session_times(len(queries[0]), settings.start_date, clock)]
    for told, change in zip(queries[1:], changes, strict=True):
        times.append(session_times(len(told), change.bounds[1], clock, start=change.bounds[0]))
    return [
        [(query, exposed, time) for (query, exposed), time in zip(told, moments, strict=True)]
        for told, moments in zip(queries, times, strict=True)
    ]
