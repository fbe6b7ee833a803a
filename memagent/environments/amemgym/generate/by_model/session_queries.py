"""What the user says first in each conversation, from which a reader tells what is exposed and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from memagent.environments.amemgym.generate.by_model.prompts import prompt
from memagent.environments.amemgym.generate.by_model.response_schemas import (
    ExposureAnswer,
    InitialQueriesAnswer,
    QueriesAnswer,
    TextAnswer,
)
from memagent.environments.amemgym.generate.by_model.state_trajectory import StateTrajectory, legal, moves
from memagent.environments.amemgym.generate.by_model.writer import Writer, reject
from memagent.environments.amemgym.generate.sessions import MAX_EXPOSED
from memagent.environments.amemgym.generate.working_files import PeriodChange, Schema

SessionQuery = tuple[str, dict[str, str]]
"""An utterance and what it exposes."""


def write_session_queries(writer: Writer, profile: str, schema: Schema, course: StateTrajectory) -> list[list[SessionQuery]]:
    """The first utterances of each period, the start included, with what each exposes. Raises `MalformedOutput`."""
    drafts = [_first(writer, profile, schema, course.states[0])]
    drafts += [_later(writer, profile, schema, change, number) for number, change in enumerate(course.changes, 1)]
    return [
        [
            (_checked(writer, f"utterance {place} of period {number}", query, exposed, schema), exposed)
            for place, (query, exposed) in enumerate(queries, 1)
        ]
        for number, queries in enumerate(drafts)
    ]


def _first(writer: Writer, profile: str, schema: Schema, state: Mapping[str, str]) -> list[SessionQuery]:
    def check(answer: InitialQueriesAnswer) -> None:
        times = Counter(name for one in answer.queries for name in one.exposed_states)
        problems = [f"{name} is given away by no text" for name in schema if name not in times]
        problems += [f"{name} is given away {count} times" for name, count in times.items() if count > 1]
        for number, one in enumerate(answer.queries, 1):
            if not 1 <= len(one.exposed_states) <= MAX_EXPOSED:
                problems.append(
                    f"text {number} gives away {len(one.exposed_states)} properties, 1 to {MAX_EXPOSED} are allowed"
                )
            problems += [
                f"{name} is {state[name]!r}, not {value!r}" if name in state else f"{name} is not a property of the schema"
                for name, value in one.exposed_states.items()
                if state.get(name) != value
            ]
        reject(problems)

    asked = prompt("initial_queries", {"profile": profile, "state": state, "schema": schema})
    answer = writer.ask("first utterances", asked, InitialQueriesAnswer, check=check)
    return [(one.query, dict(one.exposed_states)) for one in answer.queries]


def _later(writer: Writer, profile: str, schema: Schema, change: PeriodChange, number: int) -> list[SessionQuery]:
    events = [{"event": text, "changes": moves(change, schema, variables)} for variables, text in change.events]

    def check(answer: QueriesAnswer) -> None:
        given, wanted = len(answer.queries), len(events)
        reject([] if given == wanted else [f"there are {given} texts, one for each of the {wanted} events is wanted"])

    step = f"utterances of period {number}"
    asked = prompt("queries", {"profile": profile, "events": events, "schema": schema}, count=len(events))
    answer = writer.ask(step, asked, QueriesAnswer, check=check)
    exposed = [{name: change.new[name] for name in variables} for variables, _ in change.events]
    return list(zip(answer.queries, exposed, strict=True))


def _checked(writer: Writer, step: str, query: str, exposed: Mapping[str, str], schema: Schema) -> str:
    """The utterance, written anew until a reader tells what it exposes (recoverable) and nothing else."""

    def problem(name: str, text: str) -> str | None:
        asked = prompt("exposure_check", {"words": text, "schema": schema})
        told = writer.ask(name, asked, ExposureAnswer, check=lambda found: reject(legal(found.told, schema))).told
        return "; ".join(misread(told, exposed)) or None

    def again(name: str, text: str, found: str) -> str:
        asked = prompt("query_again", {"words": text, "problem": found, "tell": exposed, "schema": schema})
        return writer.ask(name, asked, TextAnswer).text

    return writer.revise_until_sound(step, query, problem=problem, again=again)


def misread(told: Mapping[str, str], exposed: Mapping[str, str]) -> Sequence[str]:
    """Where what a reader told from an utterance is not what it exposes."""
    problems = [
        f"{name} could not be told" if name not in told else f"{name} was taken for {told[name]!r}, it is {value!r}"
        for name, value in exposed.items()
        if told.get(name) != value
    ]
    return problems + [f"{name} can be told and must not" for name in told if name not in exposed]
