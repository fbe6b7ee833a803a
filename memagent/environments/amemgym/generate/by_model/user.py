"""One user, from a persona to the item: the steps in order, each stage written as soon as it is whole."""

from __future__ import annotations

from pathlib import Path

from memagent.environments.amemgym.data import UserItem, UserProfile
from memagent.environments.amemgym.generate.by_model.options import option_seed, write_options
from memagent.environments.amemgym.generate.by_model.personas import Persona
from memagent.environments.amemgym.generate.by_model.prompts import prompt
from memagent.environments.amemgym.generate.by_model.questions import plan_questions
from memagent.environments.amemgym.generate.by_model.response_schemas import ProfileAnswer
from memagent.environments.amemgym.generate.by_model.session_queries import write_session_queries
from memagent.environments.amemgym.generate.by_model.state_trajectory import write_trajectory
from memagent.environments.amemgym.generate.by_model.writer import Writer, reject
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.sessions import session_times
from memagent.environments.amemgym.generate.users import profile_of
from memagent.environments.amemgym.generate.working_files import (
    STAGES,
    convert_user,
    options_stage,
    questions_stage,
    sessions_stage,
    transition_stage,
    write_stages,
)

MAX_PROFILE_WORDS = 500
"""Words of a portrait stay below this."""


def write_user(
    writer: Writer, persona: Persona, folder: Path, *, settings: GeneratorSettings, provenance: dict[str, object]
) -> UserItem:
    """Write the stages of a user into `folder` and join them. Raises `ModelError` naming the step that failed.

    `provenance` goes into the item's extra field `generation`, with the option seeds and the changes beyond the cap.
    """
    for stage in (*STAGES, "item"):  # so that none of another run stays among new ones
        (folder / f"{stage}.json").unlink(missing_ok=True)
    profile = write_profile(writer, persona)
    write_stages(folder, user_profile=profile.model_dump(mode="json"))
    told = profile.formatted_str
    plan = plan_questions(writer, told, settings)
    write_stages(folder, questions=questions_stage(plan.questions, plan.schema), schema=plan.schema)
    course = write_trajectory(writer, told, plan.schema, settings)
    write_stages(folder, state_transition=transition_stage(course.states, course.changes, course.counts))
    options = write_options(writer, plan, course.states, least=settings.min_state_variants)
    write_stages(folder, personalized_answers=options_stage(options))
    queries = write_session_queries(writer, told, plan.schema, course)
    clock = writer.rng("times")
    times = [session_times(len(queries[0]), settings.start_date, clock)]
    for said, change in zip(queries[1:], course.changes, strict=True):
        times.append(session_times(len(said), change.bounds[1], clock, start=change.bounds[0]))
    timed = [
        [(query, exposed, time) for (query, exposed), time in zip(said, moments, strict=True)]
        for said, moments in zip(queries, times, strict=True)
    ]
    write_stages(folder, sessions=sessions_stage(timed))
    seeds = [writer.seed(option_seed(place)) for place in range(len(options))]
    extra = {**provenance, "changes_over_cap": course.over_cap, "option_seeds": seeds}
    item = UserItem.model_validate({**convert_user(folder).model_dump(mode="json"), "generation": extra})
    write_stages(folder, item=item.model_dump(mode="json"))
    return item


def write_profile(writer: Writer, persona: Persona) -> UserProfile:
    """The persona with a name and a portrait."""

    def check(answer: ProfileAnswer) -> None:
        words = len(answer.profile.split())
        if words >= MAX_PROFILE_WORDS:
            reject([f"the profile has {words} words, less than {MAX_PROFILE_WORDS} are allowed"])

    asked = prompt("profile", {"fields": persona.fields, "descriptions": persona.texts})
    answer = writer.ask("profile", asked, ProfileAnswer, check=check)
    return profile_of(persona.uuid, {"name": answer.name, **persona.fields, "complementary_info": answer.profile})
